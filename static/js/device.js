// Which browser on which system, as people call them, from a user agent's line. Pure.

// The first that fits: nearly every browser says that it is another one too.
const BROWSERS = [
  ["KakaoTalk", /KAKAOTALK/],
  ["Naver", /NAVER\(inapp/],
  ["Whale", /Whale\//],
  ["Samsung Internet", /SamsungBrowser\//],
  ["Edge", /Edg(?:e|A|iOS)?\//],
  ["Opera", /OPR\/|Opera/],
  ["Firefox", /Firefox\/|FxiOS\//],
  ["Chrome", /Chrome\/|CriOS\//],
  ["Safari", /Version\/[\d.]+ (?:Mobile\/\S+ )?Safari\//],
  ["curl", /^curl\//],
  ["Python", /python|aiohttp|httpx/i],
  ["Node.js", /^node|undici/i],
];
const SYSTEMS = [
  ["iPhone", /iPhone/],
  ["iPad", /iPad/],
  ["Android", /Android/],
  ["Windows", /Windows/],
  ["ChromeOS", /CrOS/],
  ["macOS", /Macintosh|Mac OS X/],
  ["Linux", /Linux|X11/],
];

/** "Chrome, Windows"; "" when the line tells nothing. */
export function deviceOf(userAgent) {
  const known = [BROWSERS, SYSTEMS].map((table) => table.find(([, sign]) => sign.test(userAgent))?.[0]);
  return known.filter(Boolean).join(", ");
}

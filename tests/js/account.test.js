// What the account shows: devices by their user agents, how long ago something was.

import assert from "node:assert/strict";
import test from "node:test";

import { deviceOf } from "../../static/js/device.js";
import { Words } from "../../static/js/i18n.js";

const WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)";

test("a device is told by its browser and its system, though browsers claim to be each other", () => {
  for (const [userAgent, told] of [
    [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/131.0.0.0 Safari/537.36`, "Chrome, Windows"],
    [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0`, "Edge, Windows"],
    [`Mozilla/5.0 (Windows NT 10.0) ${WEBKIT} Chrome/130.0.0.0 Whale/4.29.282.14 Safari/537.36`, "Whale, Windows"],
    [
      "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
      "Safari, macOS",
    ],
    [
      "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
      "Safari, iPhone",
    ],
    [
      "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0 Mobile/15E148 Safari/604.1",
      "Chrome, iPhone",
    ],
    ["Mozilla/5.0 (Android 15; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0", "Firefox, Android"],
    [
      `Mozilla/5.0 (Linux; Android 14; SM-S918N) ${WEBKIT} SamsungBrowser/27.0 Chrome/125.0 Mobile Safari/537.36`,
      "Samsung Internet, Android",
    ],
    [
      `Mozilla/5.0 (Linux; Android 14; wv) ${WEBKIT} Version/4.0 Chrome/131.0 Mobile Safari/537.36;KAKAOTALK 2410`,
      "KakaoTalk, Android",
    ],
    [`Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${WEBKIT} Chrome/131.0.0.0 Safari/537.36`, "Chrome, ChromeOS"],
    ["Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox, Linux"],
    ["python-requests/2.32.3", "Python"],
    ["curl/8.5.0", "curl"],
    ["", ""],
    ["<script>", ""],
  ])
    assert.equal(deviceOf(userAgent), told, userAgent);
});

test("how long ago is told in the largest unit that fits, and never in the future", () => {
  const now = new Date("2026-11-26T12:00:00Z");
  const ago = (language, seconds) => new Words(language).ago(new Date(now - seconds * 1000), now);
  assert.equal(ago("en", 20), "now");
  assert.equal(ago("en", -20), "now"); // clocks differ
  assert.equal(ago("en", 59 * 60), "59 minutes ago");
  assert.equal(ago("en", 3 * 3600 + 50), "3 hours ago");
  assert.equal(ago("en", 86_400), "yesterday");
  assert.equal(ago("ko", 5 * 60), "5분 전");
  assert.equal(ago("ko", 40 * 86_400), "지난달");
});

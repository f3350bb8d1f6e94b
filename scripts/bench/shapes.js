// Answers of about 20,000 tokens: what answers are made of, and what is hard to show piece by piece. Read by page.py.

const words = "한글 낱말과 English words, **bold** ones, `code` and numbers like 42 make a sentence. ";
const row = (n) => `| ${n} | value ${n} | **${n * 7}** | \`r${n}\` |`;
const many = (count, line) => Array.from({ length: count }, (_, n) => line(n + 1)).join("\n");
const mixed = () => {
  const part = (n) => [`## Part ${n}`, words.repeat(3), many(6, (k) => `- item ${k} of $x_${k}$ ${words}`),
    "```js\n" + many(8, (k) => `const v${k} = ${k} * ${n};`) + "\n```",
    "| a | b | c | d |\n|---|--:|---|---|\n" + many(6, row), "> " + words, `$$\n\\sum_{k=1}^{${n}} k^2\n$$`].join("\n\n");
  return Array.from({ length: 52 }, (_, n) => part(n)).join("\n\n");
};
globalThis.shapes = {
  mixed,
  list: () => many(1500, (n) => `${n}. **Item ${n}**: some words that an item has, and \`code\``),
  paragraph: () => words.repeat(950),
  lines: () => many(950, () => words),
  table: () => "| n | value | bold | code |\n|---|:--|--:|---|\n" + many(1500, row),
  code: () => "```python\n" + many(4000, (n) => `value_${n} = ${n}  # line`) + "\n```",
  quote: () => many(950, (n) => (n % 10 ? `> ${words}` : ">")),
  nested: () => "- outer\n" + many(1500, (n) => `  - inner item ${n} of a list in an item, ${n}`),
};

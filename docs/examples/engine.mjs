// A speculative decoder in JavaScript that `refspec conform --command "node engine.mjs"` can test: JSON lines in, JSON lines out.
import { createInterface } from "node:readline";

const row = (table, text) => {  // the row of the longest suffix that has one
  for (let start = 0; start <= text.length; start++) {
    const found = table[text.slice(start).join(" ")];
    if (found) return found;
  }
};
const pick = (u, weights) => {  // inverse CDF: the first index whose cumulative weight exceeds u * total
  let total = weights.reduce((a, b) => a + b, 0), sum = 0;
  const found = weights.findIndex((w) => (sum += w) > u * total);
  return found >= 0 ? found : weights.findLastIndex((w) => w > 0);
};

function generate(c, uniform) {
  let text = [...c.prompt], drafted = 0, accepted = 0;
  const end = text.length + c.max_new_tokens;
  while (text.length < end) {
    const draft = [], q = [];
    for (let i = 0; i < Math.min(c.gamma, end - text.length - 1); i++) {
      q.push(row(c.draft, [...text, ...draft]));
      draft.push(pick(uniform(), q[i]));
    }
    let kept = 0, next = null;
    while (kept < draft.length && next === null) {
      const p = row(c.target, [...text, ...draft.slice(0, kept)]), d = draft[kept];
      const u = uniform();  // also where the outcome is certain
      if (p[d] >= q[kept][d] || u * q[kept][d] < p[d]) { kept++; continue; }
      const left = p.map((each, id) => Math.max(each - q[kept][id], 0));
      next = pick(uniform(), left.some((w) => w > 0) ? left : p);
    }
    next ??= pick(uniform(), row(c.target, [...text, ...draft]));
    [drafted, accepted] = [drafted + draft.length, accepted + kept];
    for (const token of [...draft.slice(0, kept), next]) {
      text.push(token);
      if (c.stop.includes(token)) return { tokens: text.slice(c.prompt.length), drafted, accepted };
    }
  }
  return { tokens: text.slice(c.prompt.length), drafted, accepted };
}

const seeded = (s) => () => {  // mulberry32
  let t = Math.imul((s += 0x6d2b79f5) ^ (s >>> 15), s | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};

const answer = (ask) => {
  if (ask.op === "dialect") return { dialect: { name: "javascript", version: "1", uniforms_in: "texts", seeds_in: true } };
  if (ask.op !== "run") return {};
  if (ask.way === "verify") return { skipped: "only whole texts" };
  if (ask.way === "replay") { const u = ask.uniforms.values(); return generate(ask.case, () => u.next().value); }
  return { runs: ask.seeds.map((seed) => generate(ask.case, seeded(Math.imul(seed + 1, 0x9e3779b1)))) };
};
for await (const line of createInterface({ input: process.stdin })) {
  const ask = JSON.parse(line);
  if (ask.op === "stop") break;
  console.log(JSON.stringify({ n: ask.n, ...answer(ask) }));
}

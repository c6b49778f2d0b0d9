"use strict";
const { about, rule, figures, prompt, names, rounds, top: shown } = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
let now = 0, chosen = 0;

// --- text, always as text ---

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name === "style") Object.assign(made.style, value); // not as an attribute, which the page's policy forbids
    else if (value !== null) made.setAttribute(name, value);
  made.append(...children.flat().filter((each) => each !== null));
  return made;
}
// What cannot be seen, or would reorder what stands around it, is written as its code point.
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u, PARTS = /([\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}| )/u;
const codePoint = (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
const SIGNS = { " ": "·", "\n": "↵", "\t": "⇥" };
function spelled(text, asText = false) {
  return text.split(PARTS).filter((each) => each).map((each) => {
    if (asText && " \n\t".includes(each)) return each;
    return each === " " || UNSEEN.test(each) ? el("span", { class: "space" }, SIGNS[each] ?? codePoint(each)) : each;
  });
}
function token(id, kind = null) {
  const [text, isText] = names[id];
  const spelt = isText ? { class: kind } : { class: [kind, "raw"].filter((each) => each).join(" "), title: "no text on its own: as the vocabulary spells it" };
  return el("bdi", spelt, spelled(text));
}
const quoted = (id) => ["“", token(id), "”"];
function digits(x, n) { // only 1 itself is written as 1
  if (x === 0 || x === 1) return String(x);
  const written = x < 0.001 ? x.toExponential(1) : String(Number(x.toPrecision(n)));
  return written === "1" ? digits(x, n + 1) : written;
}
const number = (x) => digits(x, 3);
function apart(a, b) { // two numbers, with as many digits as tell them apart
  let n = 3;
  while (a !== b && n < 17 && digits(a, n) === digits(b, n)) n++;
  return [digits(a, n), digits(b, n)];
}
const mark = (element, current) => current ? element.setAttribute("aria-current", "true") : element.removeAttribute("aria-current");
const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

// --- the top of the page ---

function header() {
  for (const [name, value] of Object.entries({ ...about, ...figures }))
    if (value !== null) $("about").append(el("div", {}, el("dt", {}, name.replaceAll("_", " ")),
      el("dd", {}, el("bdi", {}, typeof value === "number" && !Number.isInteger(value) ? number(value) : spelled(String(value))))));
  $("claim").hidden = rule.exact === true;
  $("claim").textContent = rule.exact === false ? "This rule is inexact: the text does not have the target's distribution."
    : "This rule does not say whether the text has the target's distribution.";
  $("abbreviated").textContent = `Of each distribution the page names the ${shown} likeliest tokens of p and of q, the drafted one and the drawn ` +
    "one, with all digits in its data; the others are summed. Tokens of probability 0 are left out.";
  rounds.forEach((each, i) => {
    const squares = each.positions.slice(0, each.draft.length).map(({ fate }) => fate);
    if (each.role !== "accepted") squares.push(each.role);
    $("timeline").append(el("a", { href: `#round-${i + 1}`, "aria-label": `Round ${i + 1}: ${inShort(each)}`, title: inShort(each) },
      el("span", { "aria-hidden": "true" }, String(i + 1)), squares.map((name) => el("i", { class: name }))));
  });
}
const inShort = (round) => !round.draft.length ? "nothing drafted"
  : `${kept(round)} of ${round.draft.length} accepted, ${ended(round) ? "ended by a stop" : round.role}`;
const kept = (round) => round.positions.filter((each) => each.fate === "accepted").length;
const ended = (round) => round.positions.some((each) => each.fate === "cut");

// --- one round ---

function summary(round) {
  const n = round.draft.length, last = round.emitted.at(-1), at = round.positions.findIndex((each) => each.fate === "rejected");
  if (!n) return ["Nothing was drafted: one token, ", ...quoted(last), ", from the target."];
  const said = `${kept(round)} of ${count(n, "drafted token")} accepted`;
  if (ended(round)) return [`${said}. Then the text was over, by a stop: `, ...quoted(last), " is its last token, and the rest was cut off."];
  if (at < 0) return [`${said}, and the target added `, ...quoted(last), ", the bonus token."];
  return [`${said}; `, ...quoted(round.draft[at]), " was rejected, and ", ...quoted(last), " took its place."];
}
function text() {
  const box = $("text");
  box.replaceChildren();
  if (prompt.text !== null) box.append(el("span", { class: "faint" }, prompt.shortened ? "… " : "", spelled(prompt.text, true)));
  rounds.slice(0, now + 1).forEach((round, i) => {
    const marks = round.emitted.map((id, k) => {
      const written = round.texts[k] === null ? [" ", token(id)] : spelled(round.texts[k], true);
      return written.length ? el("mark", { class: k < round.emitted.length - 1 ? "accepted" : round.role, title: `round ${i + 1}` }, written) : null;
    });
    box.append(el("span", i === now ? { class: "now" } : {}, marks));
  });
  box.scrollTop = box.scrollHeight;
}
const FATES = { accepted: "accepted", rejected: "rejected", unused: "not reached", bonus: "bonus", plain: "plain", cut: "cut off" };
const chance = (coin) => coin.p >= coin.q ? 1 : coin.p / coin.q;
function positions() {
  const round = rounds[now];
  $("positions").replaceChildren(...round.positions.map((position, i) => {
    const { coin, fate } = position, drafted = round.draft[i];
    const bar = !coin ? null : el("span", { class: "coin", title: `accept below ${number(chance(coin))}; u = ${number(coin.u)}` },
      el("span", { class: "room", style: { width: `${100 * chance(coin)}%` } }), el("span", { class: "u", style: { left: `${100 * coin.u}%` } }));
    const button = el("button", { type: "button" }, el("span", { class: "faint number" }, String(round.start + i)),
      drafted !== undefined ? token(drafted, fate === "accepted" ? null : "gone") : fate === "bonus" || fate === "plain" ? token(round.emitted.at(-1))
        : el("span", { class: "faint" }, "—"),
      bar ?? el("span"), el("span", { class: `fate ${fate}` }, fate === "unused" && coin ? "not kept" : FATES[fate]));
    button.addEventListener("click", () => choose(i));
    return el("li", {}, button);
  }));
}
function choose(i) {
  const buttons = [...$("positions").querySelectorAll("button")];
  chosen = Math.max(0, Math.min(i, buttons.length - 1));
  buttons.forEach((each, k) => mark(each, k === chosen));
  detail();
  return buttons[chosen];
}
function detail() {
  const round = rounds[now], position = round.positions[chosen], drafted = round.draft[chosen], box = $("detail");
  box.replaceChildren(el("h3", {}, drafted === undefined ? `Position ${round.start + chosen}: ${chosen ? "behind the draft" : "the next token"}`
    : [`Position ${round.start + chosen}: `, ...quoted(drafted), " was drafted"].flat()));
  for (const sentence of story(round, position, drafted)) box.append(el("p", {}, sentence));
  const drawnFrom = position.tokens.some(([, p, , weight]) => weight !== null && Math.abs(weight - p) > 1e-12);
  const columns = [["p", "p (target)", 1], ...(drafted === undefined ? [] : [["q", "q (draft)", 2]]), ...(drawnFrom ? [["left", "residual", 3]] : [])];
  const most = Math.max(...[...position.tokens, position.rest].flatMap((entry) => entry.slice(1)));
  const drawn = position.drawn?.token ?? position.chosen;
  const row = (head, entry, kind) => el("tr", kind ? { class: kind } : {}, el("th", { scope: "row" }, head), columns.map(([name, , at]) =>
    el("td", {}, el("span", { class: "number" }, number(entry[at])),
      entry[at] > 0 ? el("span", { class: `bar ${name}`, style: { width: `${100 * entry[at] / most}%` } }) : null)));
  box.append(el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "token"), columns.map(([, title]) => el("th", { scope: "col" }, title)))),
    el("tbody", {}, position.tokens.map((entry) => {
      const notes = [entry[0] === drafted ? "drafted" : null, entry[0] === drawn ? "drawn" : null].filter((each) => each);
      return row([token(entry[0]), notes.length ? el("small", {}, notes.join(", ")) : null], entry, notes[0]);
    }), position.rest[0] ? row(`${position.rest[0].toLocaleString("en")} other${position.rest[0] === 1 ? "" : "s"}`, position.rest, "others") : null)));
  if (position.overlap !== undefined) box.append(el("p", { class: "faint" }, `p and q have Σ min(p, q) = ${number(position.overlap)} in common.`));
}
function story(round, { fate, coin, drawn, chosen: taken }, drafted) {
  const said = [];
  if (fate === "unused" && !coin) said.push([drafted === undefined ? "A draft that is accepted whole would go on here. " : "The rule did not get here. ",
    "The target computed this row in the same pass; it stands behind a rejected token and is thrown away."]);
  if (fate === "cut") said.push(["A stop ended the text before this position."]);
  if (coin) {
    const [u, below] = apart(coin.u ?? 0, chance(coin)), what = rule.looksAhead ? "The draft up to here is kept" : "It is accepted";
    said.push([chance(coin) === 1 ? `${what} whatever the coin says${rule.looksAhead ? "" : `, since p = ${number(coin.p)} is not below q = ${number(coin.q)}`}`
      : `${what} with probability ${rule.looksAhead ? "" : `p / q = ${number(coin.p)} / ${number(coin.q)} = `}${below}`,
      coin.u === null ? "." : `. The coin: u = ${u}`, coin.u === null ? "" : coin.accepted ? ", accepted." : ", rejected."]);
  } else if (rule.looksAhead && fate === "accepted") said.push(["A longer part of the draft was kept, so nothing was asked here."]);
  if (drawn) {
    const by = drawn.u === null ? "a race" : `u = ${number(drawn.u)}`;
    if (coin) said.push(["In its place, from what p has left where q took its part (the residual): ", ...quoted(drawn.token), ` (${by}).`]);
    else if (drafted === undefined) said.push(["The target's own token, drawn from p: ", ...quoted(drawn.token), ` (${by}).`]);
    else said.push(["This rule draws from p and compares: ", ...quoted(drawn.token), ` (${by}), `,
      drawn.token === drafted ? "which is the drafted one." : "which is not the drafted one, and is emitted in its place."]);
  } else if (taken !== undefined) said.push(["This rule draws nothing; it took ", ...quoted(taken), "."]);
  else if (fate === "accepted" && !coin && !rule.looksAhead) said.push(["This rule asks no coin; it found the token likely enough."]);
  return said;
}

// --- the cache ---

function tokenAt(round, row) { // of the text with the round's draft
  if (row >= round.start) return round.draft[row - round.start];
  if (row >= prompt.length) return emitted[row - prompt.length];
  return prompt.tail[row - prompt.length + prompt.tail.length];
}
const emitted = rounds.flatMap((each) => each.emitted);
const rowsOf = (from, to) => to - from === 1 ? `row ${from}` : `rows ${from} to ${to - 1}`;
const AROUND = 3, MOST = 12;
function strip(who) {
  const round = rounds[now], { before, passes } = round.cache[who], [first] = passes[0], end = passes.at(-1)[1];
  const after = rounds.slice(now + 1).find((each) => each.cache?.[who])?.cache[who].passes[0][0] ?? null;
  const previous = rounds[rounds.slice(0, now).findLastIndex((each) => each.cache?.[who])];
  const cell = (row, kind, from) =>
    el("span", { class: `cell ${kind}` }, el("small", {}, String(row)), [tokenAt(from, row)].filter((id) => id !== undefined).map((id) => token(id)));
  const line = (from, to, kind, source) => {
    const begin = Math.max(from, to - MOST), cells = begin > from ? [el("span", { class: `cell ${kind}` }, `${from} to ${begin - 1}`)] : [];
    for (let row = begin; row < to; row++) cells.push(cell(row, kind + (kind === "new" && after !== null && row >= after ? " doomed" : ""), source));
    return cells;
  };
  const known = first > AROUND ? [el("span", { class: "cell" }, `0 to ${first - AROUND - 1}`)] : [];
  for (let row = Math.max(0, first - AROUND); row < first; row++) known.push(cell(row, "", round));
  const told = [];
  if (first < before) told.push(`It held ${count(before, "row")} and was rewound to ${first}: ${rowsOf(first, before)} belonged to tokens that were not kept. `);
  else if (before) told.push(`It held ${count(before, "row")}, and nothing had to be rewound. `);
  told.push(`${passes.length === 1 ? "One pass" : `${passes.length} passes`} wrote ${rowsOf(first, end)}.`);
  if (after === null) told.push(" No later pass used it.");
  else if (after < end) told.push(` Of these, ${rowsOf(after, end)} will be rewound when it is used next.`);
  return [el("p", {}, el("strong", {}, who === "target" ? "The target's: " : "The draft model's: "), told.join("")),
    first < before && previous ? el("div", { class: "rows", "aria-hidden": "true" }, el("span", { class: "faint" }, "rewound"), line(first, before, "forgotten", previous)) : null,
    el("div", { class: "rows", "aria-hidden": "true" }, el("span", { class: "faint" }, "holds"), known, line(first, end, "new", round))].filter((each) => each);
}
function cache() {
  const found = rounds[now].cache;
  $("cache").replaceChildren(...(found ? Object.keys(found).sort().reverse().flatMap(strip) : [el("p", { class: "faint" }, "What the caches held was not recorded.")]));
}

// --- stepping ---

function show(i) {
  now = Math.max(0, Math.min(i, rounds.length - 1));
  const round = rounds[now], n = round.draft.length;
  const links = [...$("timeline").children], held = $("timeline").contains(document.activeElement);
  links.forEach((each, k) => { each.tabIndex = k === now ? 0 : -1; mark(each, k === now); });
  if (held) links[now].focus({ preventScroll: true });
  const box = $("timeline"), above = links[now].offsetTop - 4, below = above + links[now].offsetHeight + 8;
  if (above < box.scrollTop) box.scrollTop = above; else if (below > box.scrollTop + box.clientHeight) box.scrollTop = below - box.clientHeight;
  $("heading").textContent = `Round ${now + 1} of ${rounds.length}`;
  document.title = `${$("heading").textContent} · refspec trace`;
  $("link").href = `#round-${now + 1}`;
  $("previous").disabled = now === 0;
  $("next").disabled = now === rounds.length - 1;
  $("summary").replaceChildren(...summary(round));
  const sure = n && round.draft.every((id, i) => round.positions[i].tokens.find((entry) => entry[0] === id)[2] === 1);
  $("how").textContent = n ? `${count(n, "token")} drafted${sure ? "; q gives each of them probability 1" : ", each from q"}. One pass of the target gives p at all ${n + 1} positions.` +
    (round.positions.some((each) => each.coin) ? " The shaded part of a bar is the chance to accept, the mark is the coin u." : "")
    : "Nothing was drafted, so that one pass of the target gives p at one position.";
  text();
  positions();
  choose(Math.max(0, round.positions.findIndex((each) => each.fate !== "accepted")));
  cache();
}
function go(i) {
  show(i);
  try { history.replaceState(null, "", `#round-${now + 1}`); } catch { } // some browsers limit how often it may change
}
function fromAddress() {
  show(Number(/^#round-(\d+)$/.exec(location.hash)?.[1] ?? 1) - 1);
}
function pressed(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const within = $("positions").contains(document.activeElement);
  const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: rounds.length - 1 }[event.key];
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (to !== undefined) {
    go(to);
    if (within) $("positions").querySelector("[aria-current]").focus();
  } else if (within && step) choose(chosen + step).focus();
  else return;
  event.preventDefault();
}

header();
if (rounds.length) {
  $("previous").addEventListener("click", () => go(now - 1));
  $("next").addEventListener("click", () => go(now + 1));
  addEventListener("hashchange", fromAddress);
  addEventListener("keydown", pressed);
  fromAddress();
} else {
  $("summary").textContent = "No round was run, and no token generated.";
  for (const id of ["timeline", "round", "text"]) $(id).hidden = true;
  document.querySelector(".steps").hidden = document.querySelector(".key").hidden = true;
}

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const say = (text) => { byId("status").textContent = text; };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"], [1e-15, "f"]];

// `7.464e-6` with unit `J` is `7.46 µJ`.
function si(value, unit = "", digits = 4) {
  if (!Number.isFinite(value)) return "";
  if (value === 0) return unit ? `0 ${unit}` : "0";
  if (!unit && Math.abs(value) < 1e5) return String(Number(value.toPrecision(digits)));
  const size = Math.abs(Number(value.toPrecision(digits))) * (1 + 1e-9);
  const [factor, prefix] = PREFIXES.find(([from]) => size >= from) ?? PREFIXES.at(-1);
  const text = String(Number((value / factor).toPrecision(digits)));
  return prefix || unit ? `${text} ${prefix}${unit}`.trimEnd() : text;
}

const percent = (share) => `${(100 * share).toPrecision(3)} %`;
const count = (value) => value.toLocaleString("en").replaceAll(",", " ");

// The end of a dotted name, which tells neighbours apart.
const tail = (name, most = 18) => (name.length > most ? `…${name.slice(1 - most)}` : name);

// At most so many of `rows`, evenly taken.
function thinned(rows, most) {
  const stride = Math.max(1, Math.ceil(rows.length / most));
  return stride === 1 ? rows : rows.filter((_, i) => i % stride === 0);
}

// The page's own colours, light or dark.
function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const SERIES = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];
const STEPS = ["h2", "h3", "h4", "h5", "h6", "h7", "h8"];

// What all charts share.
function look() {
  const text = { color: token("soft"), fontFamily: token("sans"), fontSize: 12 };
  return { animation: false, backgroundColor: "transparent", textStyle: text, aria: { enabled: false } };
}

function axisLook(more) {
  const line = { lineStyle: { color: token("line") } };
  return {
    nameTextStyle: { color: token("soft") }, axisLabel: { color: token("soft"), hideOverlap: true },
    axisLine: { lineStyle: { color: token("strong") } }, splitLine: line, minorSplitLine: { show: false }, ...more,
  };
}

function tooltipLook(formatter) {
  // Drawn on the canvas: the page's policy forbids styles in markup.
  return {
    renderMode: "richText", confine: true, formatter, backgroundColor: token("surface"), borderColor: token("strong"),
    textStyle: { color: token("ink"), fontSize: 13, fontFamily: token("sans") },
  };
}

// Charts by the id of their element, made once; they follow its width.
const charts = new Map();
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) charts.get(target.id)?.resize();
});

function chartAt(id) {
  if (!charts.has(id)) {
    const chart = echarts.init(byId(id), null, { renderer: "canvas" });
    charts.set(id, chart);
    observer.observe(byId(id));
  }
  return charts.get(id);
}

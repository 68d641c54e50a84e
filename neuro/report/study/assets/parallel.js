// All axes and objectives side by side. Ranges that are drawn on them select points in every other part of the page.
const MOST_LINES = 800;
let atLines = [];

function drawParallel() {
  const chart = chartAt("parallel"), rows = linesToDraw();
  const chosen = new Set(view.selected);
  const group = (name, kept, color, width, opacity) => ({
    id: name, name, type: "parallel", data: kept.map(lineOf), silent: true, progressive: 0, smooth: 0.05,
    lineStyle: { color, width, opacity }, inactiveOpacity: 0.03, activeOpacity: opacity,
  });
  const plain = rows.filter((row) => chosen.has(row) && view.isFront[row] !== 2);
  chart.setOption({
    ...look(),
    parallel: { left: 44, right: 56, top: 56, bottom: 28, parallelAxisDefault: { areaSelectStyle: { width: 18, color: token("accent"), opacity: 0.25 } } },
    parallelAxis: study.dimensions.map(parallelAxis),
    series: [
      group("others", rows.filter((row) => !chosen.has(row)), token("other"), 1, 0.06),
      group("selected", plain, token("accent"), 1, plain.length > 200 ? 0.15 : 0.5),
      group("front", rows.filter((row) => chosen.has(row) && view.isFront[row] === 2), token("ink"), 1.6, 0.75),
      group("picked", pickedRows(), token("mac"), 3, 1),
    ],
  }, { notMerge: true });
  atLines.forEach((areas, dim) => { if (areas.length) chart.dispatchAction({ type: "axisAreaSelect", parallelAxisId: String(dim), intervals: areas }); });
  byId("parallel-note").textContent = rows.length < view.passing.length
    ? `${count(rows.length)} of ${count(view.passing.length)} points are drawn as lines: the front and others evenly taken.`
    : "Every point is a line.";
}

const lineOf = (row) => study.dimensions.map((one) => (Number.isNaN(one.numbers[row]) ? "-" : one.numbers[row]));

function markInParallel() {
  chartAt("parallel").setOption({ series: [{ id: "picked", data: pickedRows().map(lineOf) }] });
}

function linesToDraw() {
  const front = thinned(view.nominal, MOST_LINES);
  const selected = thinned(view.selected, MOST_LINES), others = thinned(view.passing, MOST_LINES / 2);
  return [...new Set([...others, ...selected, ...front])];
}

function parallelAxis(dimension, dim) {
  const about = { dim, id: String(dim), name: dimension.label, nameLocation: "end", nameTextStyle: { color: token("ink"), width: 110, overflow: "truncate" }, axisLabel: { color: token("soft") }, axisLine: { lineStyle: { color: token("strong") } }, axisTick: { show: false } };
  if (dimension.values) return { ...about, type: "category", data: dimension.values.map(String) };
  const [least, most] = extent(dimension.numbers, view.passing);
  about.axisLabel.formatter = (value) => si(value, dimension.unit, 3);
  if (!(most > least)) return { ...about, type: "value", scale: true };
  const log = view.log && least > 0 && most / least > 30;
  return { ...about, type: log ? "log" : "value", min: least, max: most };
}

function startParallel() {
  const chart = chartAt("parallel");
  chart.on("axisareaselected", () => {
    const model = chart.getModel();
    atLines = study.dimensions.map((_, dim) => model.getComponent("parallelAxis", dim).activeIntervals.map((area) => [...area]));
    view.lines = new Map(atLines.flatMap((areas, dim) => (areas.length ? [[study.dimensions[dim].id, areas]] : [])));
    changed("lines");
  });
}

function clearLines() {
  atLines = [];
  view.lines = new Map();
}

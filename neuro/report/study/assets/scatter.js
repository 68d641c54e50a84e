// Two dimensions of the points: the fronts, the bands of the nominal one, and what is selected.
const MOST_BANDS = 300;
const drawn = []; // rows of the points of each series

function drawScatter() {
  const chart = chartAt("scatter"), bins = colourBins(), small = view.passing.length > 20000 ? 3 : 5;
  drawn.length = 0;
  const series = [];
  const add = (rows, about) => { drawn.push(rows); series.push({ ...about, data: about.data ?? xyOf(rows) }); };
  const chosen = new Uint8Array(study.count);
  for (const row of view.selected) chosen[row] = 1;
  if (view.narrowed) add(view.passing.filter((row) => !chosen[row]), cloud("others", token("other"), 0.12, small));
  bins.forEach((bin, index) => {
    const rows = view.selected.filter((row) => bin.has(row));
    add(rows.filter((row) => !view.isFront[row]), cloud(`${index} dominated`, token(bin.colour), 0.2, small));
    add(rows.filter((row) => view.isFront[row]), cloud(`${index} robust`, token(bin.colour), 0.95, small + 2));
  });
  const front = ordered(view.nominal, view.x.numbers);
  const banded = thinned(front, MOST_BANDS);
  add(banded, { ...bandSeries(banded), data: Array.from(banded, (row) => [view.x.numbers[row], view.y.numbers[row]]) });
  add(front, frontSeries());
  add(pickedRows(), { id: "picked", type: "scatter", symbol: "circle", symbolSize: 17, silent: true, z: 9, itemStyle: { color: "transparent", borderColor: token("ink"), borderWidth: 2.5 } });
  chart.setOption({
    ...look(), grid: { left: 12, right: 24, top: 34, bottom: 34, containLabel: true },
    xAxis: scatterAxis(view.x, { nameLocation: "middle", nameGap: 30 }), yAxis: scatterAxis(view.y, { nameLocation: "end" }),
    brush: { xAxisIndex: 0, brushMode: "single", brushType: "rect", inBrush: {}, outOfBrush: { colorAlpha: 1 }, throttleType: "debounce", throttleDelay: 100, brushStyle: { color: "rgba(120,120,120,.12)", borderColor: token("accent") } },
    toolbox: { show: false }, series,
  }, { notMerge: true });
  drawLegend(bins);
}

const pickedRows = () => (view.picked >= 0 && study.state[view.picked] === 0 ? [view.picked] : []);

function markInScatter() {
  chartAt("scatter").setOption({ series: [{ id: "picked", data: xyOf(pickedRows()) }] });
}

function xyOf(rows) {
  const data = new Float32Array(2 * rows.length);
  rows.forEach((row, i) => { data[2 * i] = view.x.numbers[row]; data[2 * i + 1] = view.y.numbers[row]; });
  return data;
}

// Drawn at once and without emphasis, which would draw all of them again.
function cloud(name, color, opacity, symbolSize) {
  return { name, type: "scatter", large: true, largeThreshold: 1000, progressive: 0, emphasis: { disabled: true }, symbolSize, dimensions: ["x", "y"], itemStyle: { color, opacity }, cursor: "pointer" };
}

function frontSeries() {
  const isStair = view.over === "pair" && isPair();
  return {
    type: isStair ? "line" : "scatter", step: sign(view.x) > 0 ? "end" : "start", symbol: "circle", symbolSize: 8, showAllSymbol: true, z: 6, emphasis: { disabled: true },
    dimensions: ["x", "y"], lineStyle: { color: token("ink"), width: 1.5 }, itemStyle: { color: token("surface"), borderColor: token("ink"), borderWidth: 2 },
  };
}

function bandSeries(front) {
  const across = (api, from, to) => ({ type: "line", silent: true, shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style: { stroke: token("ink"), lineWidth: 1, opacity: 0.45 } });
  const renderItem = ({ dataIndex }, api) => {
    const row = front[dataIndex], x = view.x.numbers[row], y = view.y.numbers[row];
    return {
      type: "group",
      children: [
        across(api, api.coord([view.x.low[row], y]), api.coord([view.x.high[row], y])),
        across(api, api.coord([x, view.y.low[row]]), api.coord([x, view.y.high[row]])),
      ],
    };
  };
  return { type: "custom", renderItem, silent: true, z: 5, clip: true };
}

function scatterAxis(dimension, more) {
  const look = axisLook({ name: dimension.unit ? `${dimension.label} (${dimension.unit})` : dimension.label, ...more });
  if (dimension.values) return { ...look, type: "category", data: dimension.values };
  look.axisLabel.formatter = (value) => si(value, dimension.unit, 3);
  const [least, most] = extent(dimension.numbers, view.passing);
  const log = view.log && least > 0 && most > least;
  Object.assign(look.axisLabel, { showMinLabel: !log, showMaxLabel: !log });
  return log ? { ...look, type: "log", logBase: most / least < 100 ? 2 : 10, min: least * 0.95, max: most * 1.05 } : { ...look, type: "value", scale: true };
}

function extent(numbers, rows) {
  let least = Infinity, most = -Infinity;
  for (const row of rows) {
    if (numbers[row] < least) least = numbers[row];
    if (numbers[row] > most) most = numbers[row];
  }
  return [least, most];
}

function tooltipText(row) {
  const front = ["", "robust front", "front"][view.isFront[row]];
  const lines = study.dimensions.filter((one) => textOf(one, row) !== "").map((one) => {
    const band = one.isObjective ? bandOf(one, row) : "";
    return `${one.label}: ${textOf(one, row)}${band ? ` (${band})` : ""}`;
  });
  return [`Point ${row}${front ? `, ${front}` : ""}`, ...lines].join("\n");
}

// Groups of points by the value of the colour's dimension: one for each value, or as many for ranges of it.
function colourBins() {
  const { numbers, values, unit } = view.colour;
  const palette = values ? SERIES : STEPS, most = palette.length;
  const sorted = Float64Array.from(view.passing, (row) => numbers[row]).filter((value) => value === value).sort();
  const different = sorted.filter((value, i) => i === 0 || value !== sorted[i - 1]);
  const few = different.length <= most;
  const ends = few ? different : palette.map((_, i) => sorted[Math.ceil(((i + 1) * sorted.length) / most) - 1]);
  const shade = (i) => palette[few && !values ? Math.round(((most - 1) * i) / Math.max(1, different.length - 1)) : i];
  const label = (i) => (values ? wordsOf(values, few ? [ends[i]] : different.filter((value) => value <= ends[i] && (!i || value > ends[i - 1])))
    : few ? si(ends[i], unit) : i === most - 1 ? `above ${si(ends[i - 1], unit, 3)}` : `to ${si(ends[i], unit, 3)}`);
  const bins = Array.from(ends, (end, i) => ({ label: label(i), colour: shade(i), has: (row) => numbers[row] <= end && (!i || numbers[row] > ends[i - 1]) }));
  return [...bins, ...withoutValue(numbers)];
}

const wordsOf = (values, numbers) => Array.from(numbers, (number) => String(values[number])).join(", ");

function withoutValue(numbers) {
  return view.passing.some((row) => Number.isNaN(numbers[row])) ? [{ label: "has none", colour: "other", has: (row) => Number.isNaN(numbers[row]) }] : [];
}

function drawLegend(bins) {
  const items = bins.map((bin) => element("li", {}, element("span", { className: `key ${bin.colour}` }), bin.label));
  byId("legend").replaceChildren(element("li", {}, `${view.colour.label}:`), ...items);
}

// A tooltip of the page's own: that of the chart would lie below its many points.
function showTip({ seriesIndex, dataIndex, event }) {
  const tip = byId("tip"), row = drawn[seriesIndex]?.[dataIndex];
  if (row === undefined) return;
  tip.textContent = tooltipText(row);
  tip.hidden = false;
  const right = event.offsetX > byId("scatter").clientWidth / 2;
  tip.style.left = right ? "" : `${event.offsetX + 30}px`;
  tip.style.right = right ? `${byId("scatter").clientWidth - event.offsetX + 30}px` : "";
  tip.style.top = `${Math.max(0, event.offsetY - tip.offsetHeight / 2)}px`;
}

function startScatter() {
  const chart = chartAt("scatter");
  chart.on("mouseover", showTip);
  chart.on("mouseout", () => show("tip", false));
  chart.getZr().on("globalout", () => show("tip", false));
  chart.on("click", ({ seriesIndex, dataIndex }) => { if (drawn[seriesIndex]) pick(drawn[seriesIndex][dataIndex]); });
  chart.on("brushEnd", ({ areas }) => {
    view.box = areas.length ? areas[0].coordRange : null;
    changed("selection");
  });
}

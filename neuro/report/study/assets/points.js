// The points and what is asked of them. `changed` tells every part of the page what it asked to be told.
const study = { header: null, count: 0, dimensions: [], state: null, front: null, reason: null, texts: null };
const view = { x: null, y: null, colour: null, log: true, over: "pair", filters: new Map(), box: null, lines: new Map(), picked: -1 };
const told = [];
const whenChanged = (callback) => told.push(callback);

function changed(what) {
  if (what !== "picked") refresh();
  for (const callback of told) callback(what);
}

function readPoints(header, columns, texts) {
  const dimension = (about, kind) => {
    const { numbers, values } = columns.get(`${kind} ${about.name}`);
    const low = columns.get(`low ${about.name}`)?.numbers ?? numbers;
    const high = columns.get(`high ${about.name}`)?.numbers ?? numbers;
    return { ...about, id: `${kind} ${about.name}`, isObjective: kind === "value", numbers, values, low, high };
  };
  study.header = header;
  study.count = header.points;
  study.dimensions = [
    ...header.axes.map((about) => dimension(about, "axis")),
    ...header.objectives.map((about) => dimension(about, "value")),
  ];
  study.state = columns.get("state").numbers;
  study.front = columns.get("front").numbers;
  study.reason = columns.get("reason").numbers;
  study.texts = texts;
  study.axes = study.dimensions.filter((one) => !one.isObjective);
  study.objectives = study.dimensions.filter((one) => one.isObjective);
  const numeric = study.axes.filter((one) => !one.values);
  view.y = study.objectives[0];
  view.x = study.objectives[1] ?? numeric[0] ?? study.axes[0];
  view.colour = study.axes.find((one) => one.values && one.values.length > 1) ?? study.axes[0];
}

const dimensionOf = (id) => study.dimensions.find((one) => one.id === id);
const sign = (dimension) => (dimension.sense === "maximise" ? -1 : 1);
const isPair = () => view.x.isObjective && view.y.isObjective && view.x !== view.y;

// The value of one point in words.
function textOf(dimension, row) {
  const value = dimension.numbers[row];
  if (Number.isNaN(value)) return "";
  return dimension.values ? String(dimension.values[value]) : si(value, dimension.unit);
}

function bandOf(dimension, row) {
  const low = dimension.low[row], high = dimension.high[row];
  return high > low ? `${si(low, dimension.unit, 3)} to ${si(high, dimension.unit, 3)}` : "";
}

// Rows of done points that pass every filter, those of them that are selected, and the fronts among them.
function refresh() {
  const rows = [];
  const tests = [...view.filters].map(([id, filter]) => [dimensionOf(id).numbers, filter]);
  for (let row = 0; row < study.count; row++) {
    if (study.state[row] === 0 && tests.every(([numbers, filter]) => passes(numbers[row], filter))) rows.push(row);
  }
  view.passing = Int32Array.from(rows);
  const areas = [...view.lines].map(([id, areas]) => [dimensionOf(id).numbers, areas]);
  view.narrowed = Boolean(view.box) || areas.length > 0;
  view.selected = view.narrowed
    ? view.passing.filter((row) => inBox(row) && areas.every(([numbers, found]) => found.some(([low, high]) => numbers[row] >= low && numbers[row] <= high)))
    : view.passing;
  refreshFronts();
}

// A point where the axis is inactive passes.
function passes(value, filter) {
  if (Number.isNaN(value)) return true;
  return filter.among ? filter.among.has(value) : value >= filter.low && value <= filter.high;
}

function inBox(row) {
  if (!view.box) return true;
  const x = view.x.numbers[row], y = view.y.numbers[row], [[left, right], [bottom, top]] = view.box;
  return x >= left && x <= right && y >= bottom && y <= top;
}

function refreshFronts() {
  view.isFront = new Uint8Array(study.count);
  if (view.over === "pair" && isPair()) {
    for (const row of undominated(view.passing, (one) => one.low, (one) => one.high)) view.isFront[row] = 1;
    for (const row of undominated(view.passing, (one) => one.numbers, (one) => one.numbers)) view.isFront[row] = 2;
  } else {
    for (const row of view.passing) view.isFront[row] = study.front[row];
  }
  view.nominal = view.passing.filter((row) => view.isFront[row] === 2);
}

function pick(row) {
  view.picked = row;
  changed("picked");
}

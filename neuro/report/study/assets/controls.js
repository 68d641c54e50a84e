// The form: which dimensions are drawn, and which values are let through.
function buildControls() {
  const options = (list) => list.map((one) => element("option", { value: one.id }, one.isObjective ? one.label : `${one.label} (axis)`));
  const places = [...study.objectives, ...study.axes.filter((one) => !one.values || one === view.x)];
  for (const [name, list] of [["x", places], ["y", places], ["colour", study.dimensions]]) {
    const select = byId(`choose-${name}`);
    select.replaceChildren(...options(list));
    select.value = view[name].id;
    select.addEventListener("change", () => {
      view[name] = dimensionOf(select.value);
      if (name !== "colour") clearBox();
      changed(name);
    });
  }
  byId("choose-over").addEventListener("change", (event) => { view.over = event.target.value; changed("over"); });
  byId("choose-log").addEventListener("change", (event) => { view.log = event.target.checked; clearBox(); changed("log"); });
  byId("filters").replaceChildren(...study.dimensions.map(filterOf));
  byId("filters").addEventListener("change", readFilters);
  byId("reset-filters").addEventListener("click", () => { byId("filters-form").reset(); readFilters(); });
  byId("filters-form").addEventListener("submit", (event) => event.preventDefault());
  byId("box").addEventListener("click", () => {
    chartAt("scatter").dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: "rect", brushMode: "single" } });
    say("Draw a box on the plot");
  });
  byId("clear").addEventListener("click", () => { clearBox(); clearLines(); changed("cleared"); });
}

function clearBox() {
  view.box = null;
  const chart = chartAt("scatter");
  chart.dispatchAction({ type: "brush", areas: [] });
  chart.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: false } });
}

function filterOf(dimension) {
  const legend = element("legend", {}, dimension.unit ? `${dimension.label}, ${dimension.unit}` : dimension.label);
  if (dimension.values) {
    const boxes = dimension.values.map((value, number) => element("label", { className: "chip" }, element("input", { type: "checkbox", value: String(number), checked: true, defaultChecked: true }), String(value)));
    return element("fieldset", { className: "filter-one", "data-dimension": dimension.id }, legend, ...boxes);
  }
  const done = Array.from({ length: study.count }, (_, row) => row).filter((row) => study.state[row] === 0);
  const [least, most] = extent(dimension.numbers, done);
  const input = (end, value) => element("label", {}, element("span", {}, end), element("input", { type: "number", step: "any", placeholder: Number.isFinite(value) ? String(Number(value.toPrecision(5))) : "", "data-end": end }));
  return element("fieldset", { className: "filter-one", "data-dimension": dimension.id }, legend, input("from", least), input("to", most));
}

function readFilters() {
  view.filters = new Map();
  for (const field of all(".filter-one", byId("filters"))) {
    const boxes = all("[type=checkbox]", field), ends = all("[type=number]", field);
    if (boxes.some((box) => !box.checked)) {
      const among = new Set(boxes.filter((box) => box.checked).map((box) => Number(box.value)));
      view.filters.set(field.dataset.dimension, { among });
    }
    if (ends.some((end) => end.value !== "")) {
      const [low, high] = ends.map((end) => (end.value === "" ? null : Number(end.value)));
      view.filters.set(field.dataset.dimension, { low: low ?? -Infinity, high: high ?? Infinity });
    }
  }
  changed("filters");
}

function tellCounts() {
  const robust = view.selected.filter((row) => view.isFront[row]).length, nominal = view.selected.filter((row) => view.isFront[row] === 2).length;
  const selected = view.narrowed ? `${count(view.selected.length)} selected; ` : "";
  const whole = Object.values(study.header.counts).reduce((sum, one) => sum + one, 0);
  const drawnOf = whole > study.count ? ` on this page, of ${count(whole)} in the study,` : "";
  byId("shown").textContent = `${selected}${count(view.passing.length)} of ${count(study.count)} points${drawnOf} pass the filters. ${view.narrowed ? "Selected" : "Among them"}: ${count(nominal)} on the front, ${count(robust)} on the robust front.`;
}

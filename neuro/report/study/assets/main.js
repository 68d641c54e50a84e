// Everything is drawn once the points are unpacked; then each change draws the parts that it concerns.
async function start() {
  const header = JSON.parse(byId("data").textContent);
  const [columns, texts, more] = await Promise.all([inflated("columns"), inflatedJson("texts"), inflatedJson("details")]);
  details = more;
  readPoints(header, columnsOf(columns, header.columns, header.points), texts);
  document.documentElement.classList.add("ready");
  refresh();
  buildControls();
  buildTable();
  const redraw = () => { drawScatter(); drawParallel(); drawTable(); tellCounts(); drawDetail(); };
  view.picked = knee();
  redraw();
  startScatter();
  startParallel();
  whenChanged((what) => {
    if (what === "picked") return mark();
    drawScatter();
    if (what !== "lines") drawParallel();
    drawTable();
    tellCounts();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); redraw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); redraw(); });
}

function mark() {
  markInScatter();
  markInParallel();
  markPicked();
  drawDetail();
}

// The point of the front that is nearest to the best of both, each measured over the span of the front.
function knee() {
  const both = [view.x, view.y].map((one) => [one, ...extent(one.numbers, view.nominal)]);
  const far = (row) => both.reduce((sum, [one, least, most]) => {
    const share = most > least ? (one.numbers[row] - least) / (most - least) : 0;
    return sum + (sign(one) > 0 ? share : 1 - share) ** 2;
  }, 0);
  return view.nominal.length ? view.nominal.reduce((best, row) => (far(row) < far(best) ? row : best)) : -1;
}

function fail(error) {
  byId("failure").hidden = false;
  byId("failure").textContent = `The points could not be drawn (${error.message}); the tables and drawings below hold the front. A browser of 2023 or newer draws them.`;
  throw error;
}

window.study = { points: study, view, details: () => details, change: changed, pick, readFilters, ready: start().catch(fail) };

// The points as a table: arrow keys go from row to row, and the row that has the focus is the point that is picked.
const PAGE = 20;
const list = { kind: "front", rows: [], page: 0 };

const KINDS = {
  front: () => ordered(view.selected.filter((row) => view.isFront[row] === 2), view.x.numbers),
  selected: () => ordered(view.selected, view.x.numbers),
  infeasible: () => rowsInState(1),
  failed: () => rowsInState(2),
};

function rowsInState(state) {
  return Int32Array.from(Array.from({ length: study.count }, (_, row) => row).filter((row) => study.state[row] === state));
}

function buildTable() {
  byId("choose-list").addEventListener("change", (event) => { list.kind = event.target.value; list.page = 0; drawTable(); });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  const body = byId("points-body");
  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = list.page * PAGE + [...body.rows].indexOf(event.target.closest("tr"));
    focusAt(Math.min(Math.max(at + step, 0), list.rows.length - 1));
  });
  body.addEventListener("click", (event) => event.target.closest("tr")?.focus());
  body.addEventListener("focusin", (event) => pick(Number(event.target.closest("tr").dataset.row)));
}

function turn(step) {
  list.page = Math.min(Math.max(list.page + step, 0), Math.max(0, Math.ceil(list.rows.length / PAGE) - 1));
  drawTable(false);
}

function focusAt(at) {
  list.page = Math.floor(at / PAGE);
  drawTable(false);
  byId("points-body").rows[at % PAGE]?.focus();
}

function drawTable(again = true) {
  if (again) {
    list.rows = KINDS[list.kind]();
    list.page = Math.min(list.page, Math.max(0, Math.ceil(list.rows.length / PAGE) - 1));
  }
  const left = list.kind === "infeasible" || list.kind === "failed";
  const heads = ["Point", ...study.axes.map((one) => one.label), ...(left ? ["Why"] : study.objectives.flatMap((one) => [one.label, "Band"]))];
  byId("points-head").replaceChildren(...heads.map((head) => element("th", { scope: "col" }, head)));
  const from = list.page * PAGE, rows = list.rows.slice(from, from + PAGE);
  byId("points-body").replaceChildren(...Array.from(rows, (row, i) => tableRow(row, i, left)));
  byId("list-note").textContent = list.rows.length ? `${count(from + 1)} to ${count(from + rows.length)} of ${count(list.rows.length)}` : "No points.";
  markPicked();
}

function tableRow(row, index, left) {
  const cell = (text, kind = "") => element("td", { className: kind }, text);
  const why = () => [cell(study.texts.reasons[study.reason[row]], "prose wide")];
  const costs = () => study.objectives.flatMap((one) => [cell(textOf(one, row), "num"), cell(bandOf(one, row), "num")]);
  const cells = [cell(String(row), "name"), ...study.axes.map((one) => cell(textOf(one, row))), ...(left ? why() : costs())];
  const made = element("tr", { tabIndex: index ? -1 : 0 }, ...cells);
  made.dataset.row = String(row);
  return made;
}

function markPicked() {
  const rows = [...byId("points-body").rows], at = rows.findIndex((row) => Number(row.dataset.row) === view.picked);
  rows.forEach((row, i) => {
    row.setAttribute("aria-selected", String(i === at));
    row.tabIndex = i === Math.max(at, 0) ? 0 : -1;
  });
}

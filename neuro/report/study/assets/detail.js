// The point that is picked: its axes, objectives, and whatever was computed of it.
let details = null;

function drawDetail() {
  const row = view.picked;
  if (!show("detail", row >= 0)) return;
  const detail = details.points[row] ?? null, front = ["", ", on the robust front", ", on the front"][study.front[row]];
  byId("detail-h").textContent = `Point ${row}${front}`;
  byId("detail-lead").textContent = detail ? `${detail.title}, ${detail.execution}; weakest evidence: ${detail.grade}.` : whyNone(row);
  const pair = (term, text) => [element("dt", {}, term), element("dd", {}, text)];
  const withBand = (one) => [textOf(one, row), bandOf(one, row)].filter(Boolean).join(", ");
  byId("detail-axes").replaceChildren(...study.axes.filter((one) => textOf(one, row)).flatMap((one) => pair(one.label, textOf(one, row))));
  byId("detail-objectives").replaceChildren(...study.objectives.filter((one) => textOf(one, row)).flatMap((one) => pair(one.label, withBand(one))));
  show("detail-parts", detail !== null);
  if (detail) drawParts(detail);
}

function drawParts(detail) {
  drawEnergy(detail);
  drawTraffic(detail);
  drawRoofline(detail);
  drawCores(detail);
  drawRates(detail, details);
  fillTable("constants-table", ["Figure", "Value", "Band", "Evidence", "Source", "Conditions"], detail.constants.map((index) => details.constants[index]));
  byId("words").replaceChildren(...detail.words.map(([head, index]) => element("li", {}, `${head}: ${details.words[index]}`)));
  show("words-part", detail.words.length > 0);
}

function whyNone(row) {
  if (study.state[row] !== 0) return `${["", "Infeasible", "Failed"][study.state[row]]}: ${study.texts.reasons[study.reason[row]]}`;
  const without = byId("detail").dataset.without;
  if (without) return `Its energy by layer is not here: ${without}`;
  if (row in details.refused) return `Its energy by layer could not be computed: ${details.words[details.refused[row]]}`;
  return `Its energy by layer is not here: it was computed for points of the fronts. For this point write the page again with write_report(study_file, also=[${row}]).`;
}

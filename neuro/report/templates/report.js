(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { document.getElementById("status").textContent = text; };

  // Tables: the exact value of a cell is in its title, what is read is its text; heads name the exact unit.
  const valueOf = (cell) => cell.classList.contains("missing") ? "" : cell.dataset.csv || cell.title || cell.innerText.trim().replace(/\s*\n\s*/g, "; ");
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  function csvOf(table) {
    const rows = all("tr", table).filter((row) => !row.hidden);
    return rows.map((row) => [...row.cells].map((cell) => {
      const mark = cell.querySelector("sup");
      const text = valueOf(cell);
      return quote(mark && !cell.title ? text.slice(0, text.length - mark.textContent.length).trim() : text);
    }).join(",")).join("\n") + "\n";
  }

  async function toClipboard(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  for (const button of all("[data-copy]")) {
    button.hidden = false;
    const rest = button.textContent;
    button.addEventListener("click", async () => {
      await toClipboard(csvOf(document.getElementById(button.dataset.copy)));
      button.textContent = "Copied";
      say("Table copied as CSV");
      setTimeout(() => { button.textContent = rest; }, 1500);
    });
  }

  const number = (cell) => {
    const found = parseFloat(cell.title || cell.textContent.replace("<", ""));
    return Number.isNaN(found) ? -Infinity : found;
  };

  function sortBy(head) {
    const table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex;
    const numeric = head.classList.contains("num");
    const up = head.ariaSort ? head.ariaSort === "descending" : !numeric || at === 0;
    for (const other of all("th", table)) other.ariaSort = null;
    head.ariaSort = up ? "ascending" : "descending";
    const order = (a, b) => (numeric ? number(a.cells[at]) - number(b.cells[at])
      : a.cells[at].textContent.localeCompare(b.cells[at].textContent));
    body.append(...[...body.rows].sort((a, b) => (up ? order(a, b) : order(b, a))));
  }

  for (const head of all("th")) {
    if (head.closest("table").tBodies[0].rows.length < 5) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(head));
  }

  for (const box of all("[data-filter]")) {
    box.hidden = false;
    const rows = [...document.getElementById(box.dataset.filter).tBodies[0].rows];
    const search = box.querySelector("[type=search]");
    const names = new Map(rows.map((row) => [row, row.querySelector(".name").textContent.toLowerCase()]));
    const apply = () => {
      const part = search.value.trim().toLowerCase();
      const wanted = new Set(all("[type=checkbox]:checked", box).map((input) => input.value));
      for (const row of rows) row.hidden = !wanted.has(row.querySelector(".v").textContent) || !names.get(row).includes(part);
      box.querySelector(".shown").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} operators shown`;
    };
    box.addEventListener("input", apply);
    apply();
  }

  // Charts: one column is under the pointer or chosen with the arrow keys, and is read out below.
  for (const chart of all("svg.chart")) {
    const columns = all(":scope > .column", chart), count = columns.length;
    const readout = chart.parentElement.querySelector(".readout");
    const cursor = document.createElementNS(chart.namespaceURI, "rect");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("height", "100%");
    let at = -1;
    const show = (index) => {
      at = index;
      cursor.remove();
      readout.textContent = at < 0 ? readout.dataset.rest : columns[at].querySelector("title").textContent;
      readout.classList.toggle("active", at >= 0);
      if (at < 0) return;
      cursor.setAttribute("x", `${(100 * at) / count}%`);
      cursor.setAttribute("width", `${100 / count}%`);
      chart.append(cursor);
    };
    const under = (event) => {
      const box = chart.getBoundingClientRect();
      return Math.min(Math.max(Math.floor((count * (event.clientX - box.left)) / box.width), 0), count - 1);
    };
    chart.addEventListener("pointermove", (event) => show(under(event)));
    chart.addEventListener("pointerdown", (event) => show(under(event)));
    chart.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch" && document.activeElement !== chart) show(-1);
    });
    chart.addEventListener("blur", () => show(-1));
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    chart.addEventListener("keydown", (event) => {
      if (!(event.key in steps) || !count) return;
      event.preventDefault();
      show(Math.min(Math.max((at < 0 && steps[event.key] < 0 ? count : at) + steps[event.key], 0), count - 1));
    });
  }

  const download = document.getElementById("download");
  download.hidden = false;
  download.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([document.getElementById("data").textContent], { type: "application/json" }));
    link.download = "report.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
})();

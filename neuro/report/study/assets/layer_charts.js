// Charts of one point, layer by layer: joules by component, and how often neurons fire.
function drawEnergy(detail) {
  const { layers, components } = detail.energy, names = Object.keys(components);
  if (!show("energy-part", names.length > 0)) return;
  const totals = layers.map((_, i) => names.reduce((sum, name) => sum + components[name][i], 0));
  const whole = totals.reduce((sum, joules) => sum + joules, 0);
  const series = names.map((name, i) => ({ name, type: "bar", stack: "energy", data: components[name], itemStyle: { color: token(SERIES[i % SERIES.length]) }, barCategoryGap: "20%" }));
  const tip = (parts) => [`${parts[0].name}: ${si(totals[parts[0].dataIndex], "J")}`, ...parts.filter((part) => part.value > 0).map((part) => `${part.seriesName}: ${si(part.value, "J")}`)].join("\n");
  chartAt("energy").setOption({
    ...look(), grid: { left: 12, right: 12, top: 44, bottom: 12, containLabel: true }, legend: { type: "scroll", top: 0, left: 0, textStyle: { color: token("soft") } },
    tooltip: { ...tooltipLook(tip), trigger: "axis", axisPointer: { type: "shadow" } },
    xAxis: axisLook({ type: "category", data: layers, axisLabel: { color: token("soft"), rotate: 60, formatter: (name) => tail(name), hideOverlap: true } }),
    yAxis: axisLook({ type: "value", axisLabel: { color: token("soft"), formatter: (value) => si(value, "J", 3) } }), series,
  }, { notMerge: true });
  const rows = names.map((name) => [name, components[name].reduce((sum, joules) => sum + joules, 0)]).sort((a, b) => b[1] - a[1]);
  byId("energy-note").textContent = `${si(whole, "J")}: ${rows.map(([name, joules]) => `${name} ${percent(joules / whole)}`).join(", ")}.`;
  fillTable("energy-table", ["Layer", ...names.map((name) => `${name}, J`), ...(detail.energy.latency_s ? ["Latency, s"] : [])],
    layers.map((layer, i) => [layer, ...names.map((name) => String(components[name][i])), ...(detail.energy.latency_s ? [String(detail.energy.latency_s[i])] : [])]));
}

function drawRates(detail, texts) {
  const found = detail.rates === null ? null : texts.rates[detail.rates];
  if (!show("rates-part", found !== null)) return;
  const cells = found.layers.flatMap((_, layer) => found.rate[layer].map((rate, t) => [layer, t, rate]));
  heatMap("rates", found.layers, found.rate[0].length, cells, (layer, t, rate) => `${found.layers[layer]}, t = ${t + 1}: ${rate} spikes per neuron`);
  const select = byId("choose-raster"), known = Object.keys(found.raster), before = select.value;
  select.replaceChildren(...known.map((name) => element("option", { value: name }, name)));
  if (known.includes(before)) select.value = before;
  byId("rates-note").textContent = found.left.length ? `Channels of ${found.left.join(", ")} are left out: there are too many for this page.` : "";
  select.onchange = () => drawRaster(found, select.value);
  if (show("raster-part", known.length > 0)) drawRaster(found, select.value);
}

function drawRaster(found, layer) {
  const rows = found.raster[layer], cells = rows.flatMap((row, channel) => row.map((rate, t) => [channel, t, rate]));
  heatMap("raster", rows.map((_, channel) => String(channel)), rows[0].length, cells, (channel, t, rate) => `channel ${channel}, t = ${t + 1}: ${rate} spikes per neuron`);
}

// Columns are layers or channels, rows are timesteps; [column, row, value].
function heatMap(id, columns, steps, cells, words) {
  const most = Math.max(...cells.map((cell) => cell[2]), 1e-9);
  chartAt(id).setOption({
    ...look(), grid: { left: 12, right: 12, top: 12, bottom: 60, containLabel: true },
    tooltip: { ...tooltipLook(({ value }) => words(...value)), trigger: "item" },
    xAxis: axisLook({ type: "category", data: columns, axisLabel: { color: token("soft"), rotate: id === "rates" ? 60 : 0, formatter: (name) => tail(name), hideOverlap: true } }),
    yAxis: axisLook({ type: "category", data: Array.from({ length: steps }, (_, t) => `t = ${t + 1}`), inverse: true }),
    visualMap: { min: 0, max: most, orient: "horizontal", left: "center", bottom: 0, calculable: false, textStyle: { color: token("soft") }, inRange: { color: ["h0", ...STEPS].map(token) }, formatter: (value) => value.toPrecision(2) },
    series: [{ type: "heatmap", data: cells, progressive: 4000 }],
  }, { notMerge: true });
}

function show(id, wanted) {
  byId(id).hidden = !wanted;
  return wanted;
}

function fillTable(id, heads, rows) {
  const body = rows.map((row) => element("tr", {}, ...row.map((text, i) => element("td", { className: i ? "" : "name" }, text))));
  byId(id).replaceChildren(element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))), element("tbody", {}, ...body));
}

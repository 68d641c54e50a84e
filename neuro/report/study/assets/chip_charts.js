// Charts of one point on its chip: bytes between memories and layers, the roof, and the cores on the mesh.
function drawTraffic(detail) {
  if (!show("traffic-part", detail.traffic.length > 0)) return;
  const memory = (name) => `memory ${name}`, layer = (name) => `layer ${name}`;
  const links = detail.traffic.map(({ level, target, bytes, to_layer }) => ({ source: memory(level), target: to_layer ? layer(target) : memory(target), value: bytes }));
  const names = [...new Set(links.flatMap(({ source, target }) => [source, target]))];
  const isMemory = (name) => name.startsWith("memory ");
  const short = (name) => name.slice(name.indexOf(" ") + 1);
  const nodes = names.map((name) => ({ name, itemStyle: { color: token(isMemory(name) ? "s1" : "s3") } }));
  const tip = ({ dataType, data, value, name }) => (dataType === "edge" ? `${short(data.source)} and ${short(data.target)}: ${si(value, "B")}` : `${short(name)}: ${si(value, "B")}`);
  chartAt("traffic").setOption({
    ...look(), tooltip: { ...tooltipLook(tip), trigger: "item" },
    series: [{ type: "sankey", left: 8, right: 190, top: 8, bottom: 8, data: nodes, links, draggable: false, emphasis: { focus: "adjacency" }, label: { color: token("ink"), formatter: ({ name }) => tail(short(name), 24) }, lineStyle: { color: "source", opacity: 0.25 } }],
  }, { notMerge: true });
}

function drawRoofline(detail) {
  const roof = detail.roofline;
  if (!show("roofline-part", roof !== null)) return;
  const peak = Math.max(...roof.peak), from = Math.min(...roof.intensity, roof.balance) / 2, to = Math.max(...roof.intensity, roof.balance) * 2;
  const line = [[from, from * roof.bandwidth], [roof.balance, peak], [to, peak]];
  const data = roof.layers.map((name, i) => ({ name, value: [roof.intensity[i], roof.attained[i]] }));
  const tip = ({ name, value }) => `${name}: ${si(value[0], "", 3)} operations a byte, ${si(value[1], "op/s", 3)}`;
  const low = Math.min(...roof.attained, from * roof.bandwidth) / 2;
  chartAt("roofline").setOption({
    ...look(), grid: { left: 12, right: 24, top: 34, bottom: 34, containLabel: true }, tooltip: { ...tooltipLook(tip), trigger: "item" },
    xAxis: axisLook({ type: "log", name: `operations per byte of ${roof.level}`, nameLocation: "middle", nameGap: 28, min: from, max: to, axisLabel: { showMinLabel: false, showMaxLabel: false, color: token("soft"), formatter: (value) => si(value, "", 2) } }),
    yAxis: axisLook({ type: "log", name: "operations per second", nameTextStyle: { color: token("soft"), align: "left" }, min: low, axisLabel: { showMinLabel: false, color: token("soft"), formatter: (value) => si(value, "", 2) } }),
    series: [
      { type: "line", data: line, symbol: "none", silent: true, lineStyle: { color: token("ink"), width: 2 } },
      { type: "line", data: [[roof.balance, low], [roof.balance, peak]], symbol: "none", silent: true, lineStyle: { color: token("mac"), type: "dashed" } },
      { type: "scatter", data, symbolSize: 9, itemStyle: { color: token("accent"), opacity: 0.75 } },
    ],
  }, { notMerge: true });
  const gap = roof.efficiency === null
    ? `faster than the ${si(roof.ideal_s, "s")} of its dense operations at the peak, for zeros are skipped`
    : `${percent(roof.efficiency)} of the peak; the gap to the ideal ${si(roof.ideal_s, "s")} is ${si(roof.latency_s - roof.ideal_s, "s")}, of which ${si(roof.attainable_s - roof.ideal_s, "s")} come from memory`;
  byId("roofline-note").textContent = `${roof.below} of ${roof.layers.length} layers are below the waterline of ${si(roof.balance, "", 3)} operations a byte (dashed) and bound by memory. These layers take ${si(roof.latency_s, "s")}: ${gap}.`;
}

function drawCores(detail) {
  const cores = detail.cores;
  if (!show("cores-part", cores !== null)) return;
  const total = cores.cores.reduce((sum, one) => sum + one, 0);
  byId("cores-note").textContent = `${count(total)} cores${cores.chips ? ` on ${cores.chips} chip${cores.chips === 1 ? "" : "s"}` : ""}, laid in execution order.${cores.tiles.length ? "" : " The chip's file gives no mesh, so where they lie is not known."}`;
  fillTable("cores-table", ["#", "Layer", "Cores"], cores.layers.map((layer, i) => [String(i + 1), layer, String(cores.cores[i])]));
  if (!show("mesh-part", cores.tiles.length > 0)) return;
  const select = byId("choose-chip"), chips = [...new Set(cores.tiles.map((tile) => tile[0]))];
  select.replaceChildren(...chips.map((chip) => element("option", { value: String(chip) }, `chip ${chip + 1} of ${cores.chips}`)));
  select.onchange = () => drawMesh(cores, Number(select.value));
  drawMesh(cores, chips[0]);
}

function drawMesh(cores, chip) {
  const held = new Map();
  for (const [on, x, y, layer, used] of cores.tiles) {
    if (on === chip) held.set(`${x} ${y}`, [...(held.get(`${x} ${y}`) ?? []), [layer, used]]);
  }
  const data = [...held].map(([place, parts]) => {
    const [x, y] = place.split(" ").map(Number), used = parts.reduce((sum, part) => sum + part[1], 0);
    return { value: [x, y, used], parts, label: { formatter: parts.map((part) => part[0] + 1).join(", "), color: 2 * used > cores.cores_per_tile ? token("surface") : token("ink") } };
  });
  const tip = ({ data: tile }) => [`tile ${tile.value[0]}, ${tile.value[1]}`, ...tile.parts.map(([layer, used]) => `${cores.layers[layer]}: ${used} of ${cores.cores_per_tile} cores`)].join("\n");
  chartAt("mesh").setOption({
    ...look(), grid: { left: 12, right: 12, top: 12, bottom: 60, containLabel: true }, tooltip: { ...tooltipLook(tip), trigger: "item" },
    xAxis: axisLook({ type: "category", data: Array.from({ length: cores.columns }, (_, x) => x) }),
    yAxis: axisLook({ type: "category", data: Array.from({ length: cores.rows }, (_, y) => y), inverse: true }),
    visualMap: { min: 0, max: cores.cores_per_tile, orient: "horizontal", left: "center", bottom: 0, textStyle: { color: token("soft") }, inRange: { color: ["h0", ...STEPS].map(token) }, text: ["all cores of a tile", "none"] },
    series: [{ type: "heatmap", data, label: { show: cores.columns <= 24 }, itemStyle: { borderColor: token("surface"), borderWidth: 1 } }],
  }, { notMerge: true });
}

const arms = new Map(data.arms.map(arm => [arm.label, arm]));
const state = { hidden: new Set(), filter: "", baseline: data.baseline, arm: "", mode: "numbers", metric: "", scene: "" };
const option = (value, text = value) => el("option", { value, textContent: text });
const visible = label => !state.hidden.has(label) && label.toLowerCase().includes(state.filter);
const safe = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const number = value => value == null ? "" : String(+value.toPrecision(3));
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Addresses: #arm=…&metric=…&baseline=…&scene=…
function read() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (arms.has(asked.get("baseline"))) state.baseline = asked.get("baseline");
  if (arms.has(asked.get("arm"))) state.arm = asked.get("arm");
  state.scene = asked.get("scene") ?? state.scene; state.metric = asked.get("metric") ?? "";
  state.hidden = new Set((asked.get("hide") ?? "").split("|").filter(label => arms.has(label)));
  const target = data.charts.find(chart => state.metric && chart.id !== "price" && [chart.name, chart.metric].includes(state.metric));
  if (target) $("#" + target.id).scrollIntoView(); else if (state.arm) $(`tr[data-arm="${CSS.escape(state.arm)}"]`)?.scrollIntoView({ block: "center" });
}
function write() {
  const told = { arm: state.arm, metric: state.metric, baseline: state.baseline === data.baseline ? "" : state.baseline, scene: state.scene, hide: [...state.hidden].join("|") };
  const words = new URLSearchParams(Object.entries(told).filter(each => each[1]));
  if (`#${words}` !== location.hash && (location.hash.includes("=") || `${words}`)) history.replaceState(null, "", `#${words}`);
}
function update() {
  $$("tr[data-arm], #grid figure").forEach(each => { each.hidden = !visible(each.dataset.arm); each.classList.toggle("chosen", each.dataset.arm === state.arm); });
  $$(".chip input").forEach(box => { box.checked = !state.hidden.has(box.value); box.parentNode.hidden = !box.value.toLowerCase().includes(state.filter); });
  $("#shown").textContent = `${data.arms.filter(arm => visible(arm.label)).length} of ${data.arms.length} shown`;
  if ($("#against")) $("#against").textContent = state.baseline || "none";
  $("#baseline").value = state.baseline; $("#mode").value = state.mode;
  Object.entries(data.tables).forEach(([name, table]) => compare($("#" + name), table));
  $$("figure.chart.drawn").forEach(draw); write();
}

// Tables
function compare(table, told) {
  const base = told.arms.indexOf(state.baseline), rows = new Map($$("tbody tr", table).map(row => [row.dataset.arm, row]));
  for (const column of told.columns) {
    const found = new Map();
    for (const [one, other, off, low, high, p, real] of column.pairs) {
      if (one === base) found.set(other, [-off, -high, -low, p, real]); else if (other === base) found.set(one, [off, low, high, p, real]);
    }
    told.arms.forEach((label, place) => {
      const cell = rows.get(label)?.cells[column.place]; if (!cell) return;
      const mark = $(".mark", cell), range = $(".range", cell) ?? cell.appendChild(el("span", { className: "range" })), value = $(".value", cell), off = found.get(place);
      value.dataset.text ??= value.textContent; range.dataset.text ??= range.textContent;
      const sign = off && off[4] && column.better !== "neither" ? ((off[0] > 0) === (column.better === "higher") ? "▲" : "▼") : "";
      const plus = each => each == null ? "" : (each > 0 ? "+" : "") + String(+each.toPrecision(2));
      mark.textContent = sign; mark.className = "mark " + (sign === "▲" ? "up" : sign ? "down" : "");
      const differs = state.mode === "differences";
      value.textContent = differs ? (off ? plus(off[0]) : place === base ? "0" : "") : value.dataset.text;
      range.textContent = differs ? (off && off[1] != null ? `[${plus(off[1])}, ${plus(off[2])}]` : "") : range.dataset.text;
      cell.title = off ? `${plus(off[0])} [${plus(off[1])}, ${plus(off[2])}] against ${state.baseline}, p = ${number(off[3])}` : "";
    });
  }
  const marks = $("#marks"); marks.dataset.text ??= marks.textContent;
  marks.textContent = state.baseline === data.baseline ? marks.dataset.text : !state.baseline ? "No marks: no baseline is chosen." : `▲ better, ▼ worse than ${state.baseline} in the same table: significant at 0.05 after the correction for all pairs of arms in the column.`;
}
// Charts
const wide = (rank, many) => 2 + Math.min(3.5, 9 / Math.max(1, many - 1)) * (many - 1 - rank);
const ticks = (values, most = 5) => {
  const low = Math.min(...values), high = Math.max(...values), found = [];
  for (const steps of [[1, 1.5, 2, 3, 4, 5, 7], [1, 2, 5], [1]]) {
    found.length = 0;
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) for (const step of steps) { const at = step * 10 ** power; if (at >= low * 0.8 && at <= high * 1.25) found.push(at); }
    if (found.length <= most) break;
  }
  return { tickmode: "array", tickvals: found, ticktext: found.map(at => at.toLocaleString("en", { maximumSignificantDigits: 3 })) };
};
function legendGroups(panels) {
  const key = new Map();
  panels.forEach((panel, number) => panel.groups.forEach(group => group.forEach(place => { const label = panel.arms[place].arm; key.set(label, `${key.get(label) ?? ""}|${number}:${group[0]}`); })));
  const found = new Map(); key.forEach((each, label) => { if (visible(label)) found.set(each, [...(found.get(each) ?? []), label]); });
  return [...found.values()];
}
function legend(panels) {
  const last = label => Math.max(...panels.flatMap(panel => panel.arms.filter(each => each.arm === label).map(each => each.y.findLast(y => y != null) ?? -1e9)));
  const names = new Map(panels.flatMap(panel => panel.arms.map(each => [each.arm, each.name ?? each.arm])));
  return el("ul", { className: "legend" }, ...legendGroups(panels).sort((a, b) => last(b[0]) - last(a[0])).map(group => {
    const button = el("button", { type: "button", ariaPressed: String(group.includes(state.arm)), onclick: () => { const at = group.indexOf(state.arm); state.arm = group[at + 1] ?? ""; update(); } });
    button.append(...group.map(label => { const dot = el("i", { className: "swatch" }); dot.style.setProperty("--c", arms.get(label)?.colour ?? "#888"); return dot; }), group.map(label => names.get(label)).join(" = "));
    return el("li", {}, button);
  }));
}
function hover(each, place, chart) {
  const name = each.name ?? each.arm, range = each.lo[place] != null && each.lo[place] < each.hi[place] ? ` [${number(each.lo[place])}, ${number(each.hi[place])}]` : "";
  return `<b>${safe(name)}</b>${each.note ? ` (${safe(each.note)})` : ""}<br>${safe(chart.kind === "price" ? "" : "at " + number(each.x[place]) + ": ")}${number(each.y[place])}${range}, n=${each.n[place]}`;
}
function band(each, look, step) {
  const parts = []; let run = [];
  each.y.forEach((y, place) => { if (y == null || each.lo[place] == null) { parts.push(run); run = []; } else run.push(place); }); parts.push(run);
  const stairs = (run, side) => run.flatMap((place, at) => step && at ? [[each.x[place], each[side][run[at - 1]]], [each.x[place], each[side][place]]] : [[each.x[place], each[side][place]]]);
  const lines = parts.filter(part => part.length).map(part => [...stairs(part, "hi"), ...stairs(part, "lo").reverse()]);
  return { x: lines.flatMap(line => [...line.map(p => p[0]), null]), y: lines.flatMap(line => [...line.map(p => p[1]), null]), fill: "toself", fillcolor: look.colour + "33", line: { width: 0 }, mode: "lines", hoverinfo: "skip" };
}
function traces(chart, panel) {
  const made = [], few = panel.arms.filter(each => visible(each.arm)).length <= 4;
  for (const group of panel.groups) {
    const shown = group.filter(place => visible(panel.arms[place].arm));
    shown.forEach((place, rank) => {
      const each = panel.arms[place], look = arms.get(each.arm), pale = state.arm && state.arm !== each.arm && !shown.some(other => panel.arms[other].arm === state.arm);
      const text = each.x.map((_, at) => hover(each, at, chart)), common = { x: each.x, y: each.y, text, hoverinfo: "text", meta: each.arm, opacity: pale ? 0.2 : 1 };
      if (chart.kind === "price") {
        made.push({ ...common, mode: "markers", marker: { color: look.colour, symbol: look.mark + (each.note ? "-open" : ""), size: 9 + 2 * wide(rank, shown.length) - 4 + 2, line: { width: 2, color: look.colour } },
          error_y: each.lo[0] == null ? undefined : { type: "data", symmetric: false, array: [each.hi[0] - each.y[0]], arrayminus: [each.y[0] - each.lo[0]], color: look.colour, thickness: 1.4, width: 4 } });
        return;
      }
      if ((few || state.arm === each.arm) && each.lo.length && !pale) made.push(band(each, look, chart.kind === "survival"));
      made.push({ ...common, mode: chart.kind === "survival" || chart.kind === "waits" ? "lines" : "lines+markers", connectgaps: false, marker: { size: chart.kind === "multiples" ? 3 : 4.5, color: look.colour }, line: { color: look.colour, width: wide(rank, shown.length), dash: look.dash, shape: chart.kind === "survival" ? "hv" : "linear" } });
      if (each.paper != null) made.push({ x: [each.x[0], each.x.at(-1)], y: [each.paper, each.paper], mode: "lines", line: { color: look.colour, width: 1, dash: "dot" }, hoverinfo: "skip" });
    });
  }
  if (chart.kind === "price" && panel.front.length) {
    const best = panel.front.map(place => panel.arms[place]).filter(each => visible(each.arm));
    made.unshift({ x: best.map(each => each.x[0]), y: best.map(each => each.y[0]), mode: "lines", line: { color: css("--pale"), width: 1.5, dash: "dot", shape: panel.cheap ? "hv" : "vh" }, hoverinfo: "skip" });
  }
  return made;
}
function named(scenes, across) {  // Those whose names have room: the shaded ones first, since names of others tell less.
  const wide = (across - 64) / Math.max(...scenes.map(scene => scene.to)), taken = [];
  [...scenes.keys()].sort((a, b) => b % 2 - a % 2 || a - b).forEach(place => { const scene = scenes[place], from = scene.from * wide, to = from + 6.2 * scene.name.length + 8; if (scene.name && taken.every(each => to <= each[0] || from >= each[1])) taken.push([from, to, scene]); });
  return taken.map(each => each[2]);
}
function layout(chart, panel, across) {
  const ink = css("--ink"), pale = css("--pale"), line = css("--line"), small = chart.kind === "multiples", scenes = chart.scenes ?? [];
  const axis = { color: ink, gridcolor: line, zeroline: false, linecolor: line, ticks: "outside", tickcolor: line, automargin: true, fixedrange: true };
  const log = chart.kind === "price" || chart.logx, title = (text, size = 12) => ({ text: (across < 420 ? text.replace(/(.{14,28}?)[ ]/g, "$1\n").split("\n") : [text]).map(safe).join(across < 420 && text.length > 40 ? "<br>" : " "), font: { size, color: pale }, standoff: 6 });
  const spots = side => panel.arms.flatMap(each => each[side].filter(value => value > 0));
  return { paper_bgcolor: "#0000", plot_bgcolor: "#0000", font: { family: "system-ui, sans-serif", size: 12, color: ink }, showlegend: false, hovermode: "closest", hoverlabel: { bgcolor: css("--paper"), bordercolor: pale, font: { color: ink, size: 13 }, align: "left" },
    margin: { l: small ? 34 : 52, r: 12, t: scenes.length ? 24 : 8, b: small ? 34 : 46 },
    xaxis: { ...axis, type: log ? "log" : "linear", title: title(chart.kind === "price" ? panel.title : chart.x, small ? 11 : 12), ...(log ? ticks(spots("x"), across < 500 ? 5 : 9) : {}), rangemode: log ? undefined : "tozero" },
    yaxis: { ...axis, type: chart.logy ? "log" : "linear", ...(chart.logy ? ticks(spots("y"), 8) : {}), title: small ? undefined : title(chart.y), range: chart.range ? [chart.range[0] - 0.02 * chart.range[1], chart.range[1] * 1.03] : undefined },
    shapes: scenes.flatMap((scene, place) => [...(place % 2 ? [{ type: "rect", xref: "x", yref: "paper", x0: scene.from, x1: scene.to, y0: 0, y1: 1, fillcolor: pale, opacity: 0.13, line: { width: 0 }, layer: "below" }] : []), ...(place ? [{ type: "line", xref: "x", yref: "paper", x0: scene.from, x1: scene.from, y0: 0, y1: 1, line: { width: 1, dash: "dot", color: pale }, layer: "below" }] : [])]),
    annotations: named(scenes, across).map(scene => ({ x: scene.from, y: 1, yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, text: safe(scene.name), font: { size: 11, color: pale } })) };
}
function plot(place, chart, panel, label) {
  place.setAttribute("role", "img"); place.setAttribute("aria-label", label);
  Plotly.react(place, traces(chart, panel), layout(chart, panel, place.clientWidth), { responsive: true, displayModeBar: false });
}
function heat(chart, panel) {
  const values = panel.arms.map(each => each.y[0]), [low, high] = chart.range ?? [Math.min(...values), Math.max(...values)];
  const cell = (row, column) => {
    const each = panel.arms.find(each => each.row === row && each.column === column && visible(each.arm)); if (!each) return el("td", { textContent: "" });
    const made = el("td", {}, el("button", { type: "button", className: "value", title: each.arm, textContent: number(each.y[0]), onclick: () => open(each.arm, chart) }), el("span", { className: "range", textContent: each.lo[0] != null ? `[${number(each.lo[0])}, ${number(each.hi[0])}]` : "" }));
    made.style.setProperty("--w", (each.y[0] - low) / (high - low || 1)); return made;
  };
  const head = text => el("th", { scope: "col", textContent: text }), rows = panel.rows.map(row => el("tr", {}, el("th", { scope: "row", textContent: row }), ...panel.columns.map(column => cell(row, column))));
  return el("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: `${chart.title}, ${panel.title}` }, el("table", { className: "heat" }, el("thead", {}, el("tr", {}, head("policy"), ...panel.columns.map(head))), el("tbody", {}, ...rows)));
}
function draw(figure) {
  const chart = data.charts.find(each => each.id === figure.dataset.chart), place = $(".panels", figure), single = chart.kind === "multiples" || chart.kind === "price";
  if (chart.kind === "precision") { figure.classList.add("drawn"); place.replaceChildren(...chart.panels.map(panel => el("div", { className: "panel" }, el("h4", { textContent: `${panel.title}, ${panel.n}` }), heat(chart, panel)))); return; }
  if (!figure.classList.contains("drawn")) place.append(...chart.panels.map(panel => el("div", { className: "panel" }, ...(chart.kind === "price" ? [] : [el("h4", { textContent: `${panel.title}${single ? "" : `, ${panel.n}`}` })]), el("div", { className: "plot" }))));
  figure.classList.add("drawn"); $$(".legend", figure).forEach(each => each.remove());
  if (single) place.before(legend(chart.panels));
  chart.panels.forEach((panel, number) => {
    const box = place.children[number], target = $(".plot", box); if (!single) target.before(legend([panel]));
    plot(target, chart, panel, `${chart.title}, ${panel.title}: ${panel.arms.length} arms; the numbers are in the table below`);
    target.removeAllListeners?.("plotly_click"); target.on("plotly_click", event => { const arm = event.points[0].data.meta; if (arm) open(arm, chart); });
  });
}
function numbers(details) {
  const chart = data.charts.find(each => each.id === details.closest("figure").dataset.chart), heads = ["arm", "panel", "x", "mean", "low", "high", "n"];
  const rows = chart.panels.flatMap(panel => panel.arms.flatMap(each => each.x.map((x, place) => [each.name ?? each.arm, panel.title, x, each.y[place], each.lo[place], each.hi[place], each.n[place]])));
  details.append(el("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: `Numbers of ${chart.title}` }, el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(text => el("th", { scope: "col", textContent: text })))), el("tbody", {}, ...rows.map(row => el("tr", {}, ...row.map((value, place) => el(place ? "td" : "th", { textContent: typeof value === "number" ? number(value) : value ?? "" }))))))));
}

// Films and rollouts
const blocks = data.rollouts.blocks, filmOf = (block, label, place) => { const at = block.at[label]?.find(each => each[0] === place); return at && data.films[`${block.cells[at[1]][0]}:${at[2]}`]; };
const declared = block => { const at = data.filmstrips.findIndex(each => each[0] === block.suite && each[1] === block.scenario); return at < 0 ? 99 : at; };
const scenes = blocks.flatMap(block => block.seeds.map((seed, place) => ({ block, place, name: `${block.suite}, ${block.scenario}, ${block.seconds} s, seed ${seed}`, count: Object.keys(block.at).filter(label => filmOf(block, label, place)).length }))).filter(each => each.count).sort((a, b) => declared(a.block) - declared(b.block));
const told = (script, at = -1) => script.map(([from, text], place) => `${script.length > 1 ? `${from} s: ` : ""}${text}`).join(" · ");
let clock = null;
const players = () => $$("#grid figure:not([hidden]) video");
function seek(time) { players().forEach(each => { if (Math.abs(each.currentTime - time) > 0.02) each.currentTime = Math.min(time, (each.duration || time) - 0.01); }); $("#time").value = time; $("#at").textContent = `${(+time).toFixed(1)} s`; }
function play(on) {
  clearInterval(clock); $("#play").textContent = on ? "Pause" : "Play"; $("#play").setAttribute("aria-pressed", on);
  players().forEach(each => { each.playbackRate = +$("#speed").value; if (on) each.play().catch(() => {}); else each.pause(); });
  if (on) clock = setInterval(() => {
    const all = players(), lead = all[0]; if (!lead) return;
    if (lead.ended) { seek(0); all.forEach(each => each.play().catch(() => {})); return; }
    all.forEach(each => { if (Math.abs(each.currentTime - lead.currentTime) > 0.3 * lead.playbackRate) each.currentTime = lead.currentTime; });
    $("#time").value = lead.currentTime; $("#at").textContent = `${lead.currentTime.toFixed(1)} s`;
  }, 200);
}
function show(scene) {
  play(false); state.scene = scene.name; $("#scene").value = scene.name; $("#time").max = scene.block.seconds; $("#script").textContent = told(scene.block.scripts[scene.place]);
  $("#grid").replaceChildren(...data.arms.filter(arm => filmOf(scene.block, arm.label, scene.place)).map(arm => {
    const video = el("video", { muted: true, playsInline: true, preload: "auto", src: filmOf(scene.block, arm.label, scene.place) }); video.style.setProperty("--c", arm.colour); video.setAttribute("aria-label", `${arm.label}, ${scene.name}`);
    const figure = el("figure", {}, video, el("figcaption", {}, el("button", { type: "button", onclick: () => open(arm.label, scene.block, scene.place) }, ...arm.label.split(/(?<=[._,=])/).flatMap(part => [part, el("wbr")])))); figure.dataset.arm = arm.label; figure.hidden = !visible(arm.label); return figure;
  }));
  seek(0); write();
}
function open(arm, like = {}, place = null) {
  const mine = blocks.filter(block => block.at[arm]); if (!mine.length) { say(`no rollout of ${arm} is kept in this page`); return; }
  const block = mine.find(each => each.suite === like.suite && each.scenario === like.scenario) ?? mine[0], at = block.at[arm].find(each => each[0] === place) ?? block.at[arm][0];
  $("#which-arm").replaceChildren(...data.arms.filter(each => blocks.some(other => other.at[each.label])).map(each => option(each.label))); $("#which-arm").value = arm;
  $("#which-block").replaceChildren(...mine.map(each => option(blocks.indexOf(each), `${each.suite}, ${each.scenario}, ${each.seconds} s`))); $("#which-block").value = blocks.indexOf(block);
  $("#which-row").replaceChildren(...block.at[arm].map(([row]) => option(row, `seed ${block.seeds[row]}`))); $("#which-row").value = at[0];
  const [cell, folder] = block.cells[at[1]], film = filmOf(block, arm, at[0]), curve = block.curves.find(each => each.metric === like.metric && each.arms[arm]?.[at[0]]) ?? block.curves.find(each => each.arms[arm]?.[at[0]]);
  const command = data.rollouts.commands[arm].replace("SUITE", block.suite), fact = (name, ...what) => [el("dt", { textContent: name }), el("dd", {}, ...what)];
  const scores = block.scores.map(each => `${each.heading} ${number(each.arms[arm]?.[at[0]]) || "n/a"}`).join(" · ");
  const left = el("div", {}), right = el("div", {});
  if (curve) left.append(el("h3", { textContent: curve.metric.replaceAll("_", " ") }), el("div", { className: "plot" }));
  left.append(el("dl", {}, ...fact("Script", el("ol", {}, ...block.scripts[at[0]].map(([from, text]) => el("li", { textContent: `${from} s: ${text}` })))), ...fact("Scores", scores || "none"), ...fact("Record", el("code", { textContent: `${data.rollouts.folders[folder]}cells/${cell}/${block.record}` }), `, row ${at[2]}`),
    ...fact("The command that makes this cell again", el("pre", { textContent: command }), el("button", { type: "button", textContent: "Copy", onclick: () => keep(command, "Command") })), ...(block.total > block.seeds.length ? fact("More", `${block.total - block.seeds.length} more rollouts of this scenario are in records.parquet.`) : [])));
  if (film) right.append(el("video", { controls: true, muted: true, loop: true, playsInline: true, src: film, ariaLabel: `Film of ${arm}, seed ${block.seeds[at[0]]}` })); else right.append(el("p", { className: "pale", textContent: "No film of this rollout: of a cell of a known world, the first one is filmed." }));
  $("#about-rollout").replaceChildren(left, right);
  if (!$("#rollout").open) $("#rollout").showModal();
  if (curve) {
    const line = row => ({ arm, name: row === at[0] ? "this rollout" : "", x: curve.x, y: curve.arms[arm][row], lo: [], hi: [], n: curve.x.map(() => 1) });
    const chart = { kind: "curve", title: curve.metric, x: "seconds of video", y: "", range: curve.range, scenes: block.scripts[at[0]].length > 1 ? block.scripts[at[0]].map(([from], place, all) => ({ from, to: all[place + 1]?.[0] ?? block.seconds, name: "" })) : [] }, panel = { arms: [line(at[0])], groups: [[0]], title: "", n: "" };
    const others = block.at[arm].filter(([row]) => row !== at[0] && curve.arms[arm][row]).map(([row]) => ({ x: curve.x, y: curve.arms[arm][row], mode: "lines", line: { color: css("--line"), width: 1 }, hoverinfo: "skip" }));
    const target = $(".plot", left), keptArm = state.arm; state.arm = ""; Plotly.react(target, [...others, ...traces(chart, panel)], layout(chart, panel, target.clientWidth), { responsive: true, displayModeBar: false }); state.arm = keptArm;
    target.setAttribute("role", "img"); target.setAttribute("aria-label", `${curve.metric} of this rollout over the video, the others of the arm behind it`);
  }
}

// Controls
document.addEventListener("click", event => {
  const button = event.target.closest("button"); if (!button) return;
  if (button.matches("tr[data-arm] .arm")) { state.arm = button.closest("tr").dataset.arm; const first = data.tables[button.closest("table").id]; update(); open(state.arm, data.charts[0] ?? first); }
});
document.addEventListener("toggle", event => {
  if (event.target.matches(".numbers") && event.target.open && !$("table", event.target)) numbers(event.target);
}, true);
$$(".chip input").forEach(box => box.onchange = () => { if (box.checked) state.hidden.delete(box.value); else state.hidden.add(box.value); update(); });
$("#filter").oninput = event => { state.filter = event.target.value.toLowerCase(); update(); };
$("#baseline").append(option("", "none"), ...data.arms.map(arm => option(arm.label))); $("#baseline").onchange = event => { state.baseline = event.target.value; update(); };
$("#mode").onchange = event => { state.mode = event.target.value; update(); };
$("#all").onclick = () => { state.hidden.clear(); update(); }; $("#none").onclick = () => { data.arms.forEach(arm => state.hidden.add(arm.label)); update(); };
new MutationObserver(update).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").onchange = update;
$("#close").onclick = () => $("#rollout").close();
$("#which-arm").onchange = event => { const block = blocks[$("#which-block").value]; open(event.target.value, block, +$("#which-row").value); };
$("#which-block").onchange = event => open($("#which-arm").value, blocks[event.target.value]); $("#which-row").onchange = event => open($("#which-arm").value, blocks[$("#which-block").value], +event.target.value);
$("#rollout").onclose = () => $$("video", $("#rollout")).forEach(each => each.pause());
$$(".matrix").forEach(table => { const most = Math.max(1, ...$$("td[data-v]", table).map(cell => +cell.dataset.v)); $$("td[data-v]", table).forEach(cell => cell.style.setProperty("--w", cell.dataset.v / most)); });
if ($("#scene") && scenes.length) {
  $("#scene").append(...scenes.map(scene => option(scene.name))); $("#scene").onchange = event => show(scenes.find(scene => scene.name === event.target.value));
  $("#play").onclick = () => play($("#play").textContent === "Play"); $("#time").oninput = event => { play(false); seek(+event.target.value); }; $("#speed").onchange = () => play($("#play").textContent === "Pause");
}
const seen = new IntersectionObserver(entries => entries.forEach(entry => { if (entry.isIntersecting) { seen.unobserve(entry.target); if (entry.target.id === "grid") show(scenes.find(scene => scene.name === state.scene) ?? scenes[0]); else draw(entry.target); } }), { rootMargin: "600px" });
// Paper is light: charts take their colours when they are drawn.
let theme;
addEventListener("beforeprint", () => { theme = document.documentElement.dataset.theme; document.documentElement.dataset.theme = "light"; $$("figure.chart").forEach(draw); });
addEventListener("afterprint", () => { if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme; });
addEventListener("hashchange", () => { read(); update(); });
read(); update(); $$("figure.chart").forEach(figure => seen.observe(figure)); if ($("#grid") && scenes.length) seen.observe($("#grid"));

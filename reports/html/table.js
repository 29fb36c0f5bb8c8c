"use strict";
// Tables of every page: sorting, copying, and what a heading means.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (query, at = document) => at.querySelector(query), $$ = (query, at = document) => [...at.querySelectorAll(query)];
const el = (tag, props = {}, ...inside) => { const made = Object.assign(document.createElement(tag), props); made.append(...inside); return made; };
const say = text => { $("#said").textContent = text; clearTimeout(say.timer); say.timer = setTimeout(() => $("#said").textContent = "", 2500); };
function sort(head) {
  const body = $("tbody", head.closest("table")), place = head.cellIndex, first = place && head.dataset.better !== "lower" ? "descending" : "ascending";
  const way = head.ariaSort ? (head.ariaSort === "ascending" ? "descending" : "ascending") : first, sign = way === "ascending" ? 1 : -1;
  $$("th", head.parentNode).forEach(each => each.removeAttribute("aria-sort")); head.setAttribute("aria-sort", way);
  const key = row => { const cell = row.cells[place]; return cell.dataset.v !== undefined ? +cell.dataset.v : place ? null : cell.textContent; };
  const less = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : sign * (typeof a === "number" ? a - b : a.localeCompare(b));
  body.append(...[...body.rows].map(row => [key(row), row]).sort((a, b) => less(a[0], b[0])).map(pair => pair[1]));
}
const TEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "▲": "$\\blacktriangle$", "▼": "$\\blacktriangledown$", "●": "$\\bullet$", "○": "$\\circ$", "†": "$\\dagger$", "·": "$\\cdot$" };
const tex = text => text.replace(/[\\~^▲▼●○†·&%$#_{}]/g, each => TEX[each] ?? "\\" + each);
function copied(table, kind) {
  const rows = [...table.tBodies[0].rows].filter(row => !row.hidden), told = data.tables?.[table.id] ?? { columns: [] };
  if (kind === "csv" && told.columns.length) return [told.csv.head, ...rows.flatMap(row => told.csv.arms[row.dataset.arm] ?? [])].join("\n") + "\n";
  const words = cell => [".value", ".range", ".mark", ".rank"].map(part => $(part, cell)?.textContent.trim()).filter(Boolean).join(" ");
  const heads = [...table.tHead.rows[0].cells].map(head => [$(".sort", head).textContent, $(".n", head)?.textContent].filter(Boolean).join(", "));
  const lines = rows.map(row => [...row.cells].map((cell, place) => place ? words(cell) : cell.textContent.trim()));
  if (kind === "csv") return [heads, ...lines].map(line => line.map(text => /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text).join(",")).join("\n") + "\n";
  if (kind === "md") return [heads, heads.map((_, place) => place ? "---:" : "---"), ...lines].map(line => `| ${line.map(text => text.replace(/([|`*<\\])/g, "\\$1")).join(" | ")} |`).join("\n") + "\n";
  const line = cells => cells.map(tex).join(" & ") + " \\\\";
  return ["% needs the packages booktabs and amssymb", `\\begin{tabular}{l${"r".repeat(heads.length - 1)}}`, "\\toprule", line(heads), "\\midrule", ...lines.map(line), "\\bottomrule", "\\end{tabular}"].join("\n") + "\n";
}
async function keep(text, what) {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = document.body.appendChild(el("textarea", { value: text })); area.select(); document.execCommand("copy"); area.remove();
  }
  say(`${what} copied`);
}
document.addEventListener("click", event => {
  const button = event.target.closest("button"); if (!button) return;
  if (button.matches(".sort")) sort(button.closest("th"));
  if (button.matches("[data-copy]")) keep(copied($("table", button.closest(".sheet")), button.dataset.copy), button.textContent);
});
document.addEventListener("toggle", event => {
  if (event.target.matches(".about") && event.newState === "open") { const at = event.target.previousElementSibling.getBoundingClientRect(), box = event.target.getBoundingClientRect(); event.target.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.width - 8))}px`; event.target.style.top = `${at.bottom + 6 + box.height > innerHeight ? at.top - box.height - 6 : at.bottom + 6}px`; }
}, true);
$("#theme").onclick = () => { const dark = getComputedStyle(document.documentElement).colorScheme === "dark"; document.documentElement.dataset.theme = dark ? "light" : "dark"; };

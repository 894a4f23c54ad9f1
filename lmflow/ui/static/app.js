// Keys, copying and live pages. Everything works without it, except that a page then has to be
// loaded again to see what is new.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const rows = () => all("[data-row]").filter((row) => row.offsetParent !== null);
  let at = null; // the id of the chosen row, so that it stays chosen when a live table is replaced

  const choose = (row) => {
    all(".at").forEach((other) => other.classList.remove("at"));
    if (!row) { at = null; return; }
    row.classList.add("at");
    at = row.dataset.row;
    const target = row.querySelector("a, button, input");
    if (target) target.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const chosen = () => rows().find((row) => row.dataset.row === at) || null;
  const move = (step) => {
    const list = rows();
    if (!list.length) return;
    const now = list.indexOf(chosen());
    choose(list[Math.min(Math.max(now + step, 0), list.length - 1)]);
  };

  const say = (text) => { const place = document.getElementById("said"); if (place) place.textContent = text; };
  const copy = async (button) => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); say("copied"); button.textContent = "copied"; }
    catch { getSelection().selectAllChildren(document.getElementById(button.dataset.copy)); button.textContent = "selected"; }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  };

  const typing = (target) => target.closest("input, textarea, select, [contenteditable]");
  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    "/": () => { const field = document.querySelector("input[type=search]"); if (field) { field.focus(); field.select(); } },
    c: () => { const button = document.querySelector("[data-copy]"); if (button) copy(button); },
    "?": () => document.getElementById("keys").showModal(),
    Escape: () => {
      if (at !== null) { choose(null); document.activeElement.blur(); return; }
      const up = document.querySelector("[data-up]");
      if (up) location.assign(up.href);
    },
    Enter: () => { const row = chosen(); const link = row && row.querySelector("a"); if (link) link.click(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (typing(event.target)) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
    const number = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    const act = KEYS[event.key];
    if (number) number.click(); else if (act) act(); else return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    const row = event.target.closest("[data-row]");
    if (row) { all(".at").forEach((other) => other.classList.remove("at")); row.classList.add("at"); at = row.dataset.row; }
  });
  document.addEventListener("htmx:afterSettle", () => { const row = chosen(); if (row) row.classList.add("at"); });

  // A live page listens while somebody can see it: a browser has few connections for one host.
  const run = document.body.dataset.live;
  if (!run || !window.EventSource) return;
  const sign = document.getElementById("live");
  const show = (state, text) => { if (sign) { sign.dataset.state = state; sign.textContent = text; } };
  let source = null, timer = null, last = 0;
  const refresh = () => {
    timer = null; last = Date.now();
    for (const part of all("[data-refresh]")) {
      const url = new URL(location.href);
      url.searchParams.set("fragment", part.dataset.refresh);
      htmx.ajax("GET", url.pathname + url.search, { target: part, swap: "outerHTML" });
    }
  };
  const soon = () => { if (timer === null) timer = setTimeout(refresh, Math.max(0, 500 - (Date.now() - last))); };
  const listen = () => {
    if (source || document.hidden) return;
    source = new EventSource(`/events?run=${encodeURIComponent(run)}`);
    source.addEventListener("hello", () => { show("on", "● live"); });
    source.addEventListener("change", soon);
    source.onerror = () => show("off", "○ not connected");
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { listen(); soon(); return; }
    if (source) { source.close(); source = null; show("", "○ paused"); }
  });
  addEventListener("pagehide", () => { if (source) { source.close(); source = null; } });
  listen();
})();

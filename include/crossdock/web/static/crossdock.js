// The little that a page needs beside htmx: Airflow's theme, the zone of times, dialogs, `/`, and links to Airflow's own pages.
"use strict";
(() => {
  const root = document.documentElement;
  const read = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const keep = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a private window */ } };

  // Airflow keeps its theme in localStorage; a change there arrives here at once.
  const theme = () => { const now = read("theme"); root.dataset.theme = now === "dark" || now === "light" ? now : ""; };
  theme();
  addEventListener("storage", theme);

  // One switch for all times of all pages. The server writes UTC.
  const zone = () => (read("crossdock.zone") === "local" ? "local" : "UTC");
  const written = (time) => {
    const at = new Date(time.dateTime);
    if (zone() === "UTC") return at.toISOString().slice(0, 19).replace("T", " ") + " UTC";
    const two = (part) => String(part).padStart(2, "0");
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    const offset = -at.getTimezoneOffset();
    const sign = offset < 0 ? "-" : "+";
    const hours = two(Math.floor(Math.abs(offset) / 60)) + ":" + two(Math.abs(offset) % 60);
    return day + " " + [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":") + " " + sign + hours;
  };
  const times = (within) => {
    for (const time of within.querySelectorAll("time[datetime]")) {
      time.title = written(time);
      if (time.hasAttribute("data-absolute")) time.textContent = time.title;
    }
    for (const button of within.querySelectorAll("[data-zone]")) button.textContent = zone() === "UTC" ? "UTC" : "Local time";
  };

  // Pages stand in a frame of Airflow, which may not navigate its parent: tell Airflow's own router instead.
  const toAirflow = (event, link) => {
    if (window.parent === window) return;
    event.preventDefault();
    window.parent.history.pushState({}, "", link.href);
    window.parent.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (link) return toAirflow(event, link);
    const opener = event.target.closest("[data-opens]");
    if (opener) return document.getElementById(opener.dataset.opens).showModal();
    const closer = event.target.closest("[data-closes]");
    if (closer) return closer.closest("dialog").close();
    if (event.target.closest("[data-zone]")) {
      keep("crossdock.zone", zone() === "UTC" ? "local" : "UTC");
      times(document);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) return;
    const search = document.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); }
  });
  // A second click sends nothing twice.
  document.addEventListener("submit", (event) => {
    for (const button of event.target.querySelectorAll("button[type=submit]")) setTimeout(() => { button.disabled = true; });
  });
  addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button[type=submit]")) button.disabled = false; });
  document.addEventListener("change", (event) => { if (event.target.closest("[data-submits]")) event.target.form.requestSubmit(); });
  document.addEventListener("DOMContentLoaded", () => times(document));
  document.addEventListener("htmx:afterSwap", (event) => times(event.target));
})();

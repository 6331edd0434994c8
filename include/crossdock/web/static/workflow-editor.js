// The editor of workflows: line numbers, the way to a problem's line, completion.
"use strict";
(() => {
  const editor = document.querySelector("[data-editor]");
  if (!editor) return;
  const text = editor.querySelector("textarea"), gutter = editor.querySelector(".gutter"), list = editor.querySelector("ul");
  const words = JSON.parse(editor.dataset.words);
  const lineHeight = () => parseFloat(getComputedStyle(text).lineHeight);
  // The lines up to the caret.
  const before = () => text.value.slice(0, text.selectionStart).split("\n");
  // As if it were typed: the browser can take it back.
  const insert = (typed) => document.execCommand("insertText", false, typed);

  // Those with a problem are marked.
  const number = () => {
    const lines = text.value.split("\n").length;
    const wrong = new Set([...document.querySelectorAll("#verdict .findings [data-line]")].map((link) => link.dataset.line));
    gutter.replaceChildren(...Array.from({ length: lines }, (_, index) => {
      const line = document.createElement("span");
      line.id = "L" + (index + 1);
      line.textContent = index + 1 + "\n";
      if (wrong.has(String(index + 1))) line.className = "wrong";
      return line;
    }));
    text.rows = lines + 1;
  };

  // A click on a problem or a step of the graph.
  const goTo = (line) => {
    const lines = text.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    text.focus({ preventScroll: true });
    text.setSelectionRange(start, start + (lines[line - 1] || "").length);
    editor.scrollTop = Math.max((line - 4) * lineHeight(), 0);
    editor.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#verdict [data-line]");
    if (!link) return;
    event.preventDefault();
    goTo(Number(link.dataset.line));
  });

  // What can stand at the caret: what is typed of it, and of each choice the word, its meaning, what to insert.
  const indentOf = (line) => line.match(/^ *(- +)?/)[0].length;
  const above = (lines, indent) => {
    // The field that holds the line: it has less indentation.
    for (let at = lines.length - 1; at >= 0; at--) {
      const found = lines[at].match(/^( *(?:- +)*)(\w+):/);
      if (found && found[1].length < indent) return { name: found[2], at, indent: found[1].length };
    }
    return { name: "", at: -1, indent: -1 };
  };
  const callOf = (lines, from, indent) => {
    // The action of the step whose `with` is at a line.
    const of = (at) => (lines[at].match(/^ *(?:- +)*call: *([\w.]+)/) || [])[1];
    const isBeside = (at) => !lines[at].trim() || indentOf(lines[at]) >= indent;
    for (let at = from - 1; at >= 0; at--) {
      if (indentOf(lines[at]) === indent && of(at)) return of(at);
      if (!isBeside(at) || lines[at].trimStart().startsWith("- ")) break;
    }
    for (let at = from + 1; at < lines.length && isBeside(at) && !lines[at].trimStart().startsWith("- "); at++) {
      if (indentOf(lines[at]) === indent && of(at)) return of(at);
    }
  };
  const NAMES = /^ {2}(\w+):/gm, IDS = /\bid: *(\w+)/g;
  const all = (pattern, within = text.value) => [...within.matchAll(pattern)].map((found) => found[1]);
  const plain = (names, about) => names.map((name) => [name, about || "", name]);
  const fields = (all) => all.map(([name, about]) => [name, about, name + ": "]);
  const choices = () => {
    const lines = before(), line = lines.pop();
    let found;
    if ((found = line.match(/\bcall: *([\w.]*)$/))) {
      return [found[1], Object.entries(words.actions).map(([name, action]) => [name, action.about, name])];
    }
    if ((found = line.match(/\bevent: *([\w.]*)$/))) return [found[1], plain(words.events)];
    if ((found = line.match(/\bhandler: *(\w*)$/))) {
      return [found[1], plain(all(NAMES, text.value.split(/^handlers:/m)[1] || ""))];
    }
    if ((found = line.match(/\bthen: *(\w*)$/))) return [found[1], plain(["end", ...all(IDS)])];
    if ((found = line.match(/\bsteps\.(\w+)\.(\w*)$/))) {
      const call = new RegExp("id: *" + found[1] + "\\b[^]*?\\bcall: *([\\w.]+)").exec(text.value);
      return [found[2], plain((call && words.actions[call[1]] || { output: [] }).output, call ? call[1] : "")];
    }
    if ((found = line.match(/\bsteps\.(\w*)$/))) return [found[1], plain(all(IDS), "step")];
    if ((found = line.match(/\bparams\.(\w*)$/))) {
      const block = (text.value.match(/^params:\n((?: +.*\n|\n)*)/m) || ["", ""])[1];
      return [found[1], plain(all(NAMES, block), "param")];
    }
    if ((found = line.match(/\b(\w+): *\[?(?:[\w, ]*, *)?([\w./]*)$/)) && words.values[found[1]]) {
      return [found[2], plain(words.values[found[1]])];
    }
    if ((found = line.match(/^( *(?:- +)*)(\w*)$/))) {
      const holder = above(lines, found[1].length);
      if (holder.name === "with") {
        const action = words.actions[callOf(text.value.split("\n"), holder.at, holder.indent)];
        return [found[2], fields((action || { with: [] }).with.map((name) => [name, "argument"]))];
      }
      if (holder.name === "integrations") {
        return [found[2], Object.entries(words.integrations).map(([name, kind]) => [name, kind, `${name}: ${kind}`])];
      }
      return [found[2], fields(Object.entries(words.fields[holder.name] || {}))];
    }
    return ["", []];
  };

  // Their list, below the caret.
  let typed = "", shown = [], chosen = 0;
  const close = () => { list.hidden = true; text.removeAttribute("aria-activedescendant"); };
  const mark = () => {
    [...list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === chosen)));
    const item = list.children[chosen];
    text.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  };
  const open = (isAsked) => {
    const [start, found] = choices();
    shown = found.filter(([word]) => word.startsWith(start) && (isAsked || word !== start)).slice(0, 40);
    if (!shown.length || (!isAsked && !start && !/[.:] ?$/.test(before().pop()))) return close();
    typed = start; chosen = 0;
    list.replaceChildren(...shown.map(([word, about], index) => {
      const item = document.createElement("li"), meaning = document.createElement("small");
      item.id = "completion-" + index; item.role = "option"; item.textContent = word; meaning.textContent = about;
      item.append(meaning);
      item.addEventListener("mousedown", (event) => { event.preventDefault(); chosen = index; accept(); });
      return item;
    }));
    const lines = before();
    list.style.top = lines.length * lineHeight() + 8 + "px";
    list.style.left = gutter.offsetWidth + 10 + (lines.pop().length - typed.length) * 7.5 + "px";
    list.hidden = false;
    mark();
  };
  const accept = () => {
    close();
    text.setSelectionRange(text.selectionStart - typed.length, text.selectionStart);
    insert(shown[chosen][2]);
  };

  text.setAttribute("aria-autocomplete", "list");
  text.setAttribute("aria-controls", list.id);
  text.addEventListener("input", () => { number(); open(false); });
  text.addEventListener("blur", close);
  text.addEventListener("click", close);
  text.addEventListener("keydown", (event) => {
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); return open(true); }
    if (list.hidden) {
      // A new line begins where the one before does.
      if (event.key !== "Enter" || event.ctrlKey || event.isComposing) return;
      event.preventDefault();
      const line = before().pop();
      return insert("\n" + " ".repeat(indentOf(line) + (/:\s*$/.test(line) ? 2 : 0)));
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { chosen = (chosen + step + shown.length) % shown.length; mark(); }
    else if (event.key === "Enter" || event.key === "Tab") accept();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", number);
  number();
})();

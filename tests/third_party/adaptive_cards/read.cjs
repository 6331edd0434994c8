// Reads a list of Adaptive Cards on standard input and renders each. Writes what became of them as one JSON document.
const { JSDOM } = require("jsdom");

const { window } = new JSDOM("<!DOCTYPE html><body></body>");
for (const name of ["window", "document", "HTMLElement", "HTMLButtonElement", "Node", "MutationObserver"]) {
  globalThis[name] = name === "window" ? window : window[name];
}
// This DOM has no layout, so it has no innerText. The reader only sets it.
Object.defineProperty(window.HTMLElement.prototype, "innerText", {
  set(text) {
    this.textContent = text;
  },
});
const AC = require("adaptivecards/dist/adaptivecards.js");

let markdown = [];
AC.AdaptiveCard.onProcessMarkdown = (text, result) => {
  markdown.push(text);
  result.outputHtml = text;
  result.didProcess = true;
};

function read(document) {
  markdown = [];
  const context = new AC.SerializationContext(AC.Versions.v1_4);
  const card = new AC.AdaptiveCard();
  card.parse(document, context);
  const events = [...Array(context.eventCount).keys()].map((at) => context.getEventAt(at).message);
  const failures = card.validateProperties().validationEvents.map((event) => event.message);
  const shown = card.render();
  return {
    events,
    failures,
    markdown,
    text: shown.textContent,
    tags: [...new Set([...shown.querySelectorAll("*")].map((element) => element.tagName))].sort(),
    links: [...shown.querySelectorAll("a")].map((element) => element.getAttribute("href")),
  };
}

let given = "";
process.stdin.on("data", (piece) => (given += piece));
process.stdin.on("end", () => process.stdout.write(JSON.stringify(JSON.parse(given).map(read))));

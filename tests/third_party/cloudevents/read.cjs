// Reads a list of HTTP answers on standard input, each with its headers and its body, as the SDK reads them, strictly.
const { HTTP } = require("cloudevents");

function read({ headers, body }) {
  const found = HTTP.toEvent({ headers, body });
  const events = Array.isArray(found) ? found : [found];
  return events.map((event) => ({ valid: event.validate(), event: event.toJSON() }));
}

let text = "";
process.stdin.on("data", (part) => (text += part));
process.stdin.on("end", () => process.stdout.write(JSON.stringify(JSON.parse(text).map(read))));

// A commercetools by somebody else, on loopback alone (its own `runServer` listens on every interface).
import { AsyncLocalStorage } from "node:async_hooks";
import { CommercetoolsMock, InMemoryStorage } from "@labdigital/commercetools-mock";

// Its storage sorts, but 4.4.0 does not hand it the `sort` of a request.
const asked = new AsyncLocalStorage();
class Sorting extends InMemoryStorage {
	query = (project, type, params) => super.query(project, type, { ...params, sort: asked.getStore() });
}

const mock = new CommercetoolsMock({ enableAuthentication: true, validateCredentials: true, storage: new Sorting() });
mock.app.addHook("onRequest", (request, _, done) => asked.run(request.query.sort, done));
console.log(await mock.app.listen({ port: 0, host: "127.0.0.1" }));
// Ends with the test that started it, whatever becomes of that test.
process.stdin.on("end", () => process.exit(0)).resume();

// Renders /schema/openapi.json. Text goes in as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const shapeName = (schema) => (schema && schema.$ref ? schema.$ref.split("/").pop() : null);

// A schema in a few words: `string (date-time)`, `Task`, `queued | running`.
function brief(schema) {
  if (!schema || Object.keys(schema).length === 0) return ["any"];
  const name = shapeName(schema);
  if (name) return [make("a", { href: `#shape-${name}` }, name)];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.flatMap((option, at) => (at ? [" | ", ...brief(option)] : brief(option)));
  if (schema.type === "array") return ["list of ", ...brief(schema.items)];
  if (schema.additionalProperties && typeof schema.additionalProperties === "object" && schema.additionalProperties.type)
    return ["object of ", ...brief(schema.additionalProperties)];
  const words = [[].concat(schema.type || "any").join(" | ")];
  if (schema.format) words.push(` (${schema.format})`);
  return words.concat(limits(schema));
}

function limits(schema) {
  const found = [];
  const say = (key, text) => { if (schema[key] !== undefined) found.push(text(schema[key])); };
  say("minimum", (v) => `from ${v}`);
  say("exclusiveMinimum", (v) => `over ${v}`);
  say("maximum", (v) => `to ${v}`);
  say("minLength", (v) => `length from ${v}`);
  say("maxLength", (v) => `length to ${v}`);
  say("maxItems", (v) => `up to ${v}`);
  say("pattern", (v) => v);
  say("default", (v) => `default ${JSON.stringify(v)}`);
  return found.length ? [` · ${found.join(" · ")}`] : [];
}

function table(heads, rows) {
  return make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, ...[].concat(cell)))))));
}

function example(operation, method, path) {
  const body = operation.requestBody;
  const lines = [`curl${method === "get" ? "" : ` -X ${method.toUpperCase()}`} '${location.origin}${path}'`];
  if (body) {
    const [type, content] = Object.entries(body.content)[0];
    lines.push(`  -H 'content-type: ${type}'`, `  -d '${JSON.stringify(content.example)}'`);
  }
  return lines.join(" \\\n");
}

function article(path, method, operation) {
  const parts = [
    make("h3", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), " ", make("code", {}, path)),
    make("p", {}, operation.summary),
  ];
  if (operation.description) parts.push(make("p", { class: "soft" }, operation.description));
  if (operation.parameters.length) {
    parts.push(make("h4", {}, "Parameters"), table(["Name", "In", "What", "Form"], operation.parameters.map((one) => [
      make("code", {}, one.name), one.in, one.description || "", brief(one.schema),
    ])));
  }
  if (operation.requestBody) {
    const [type, content] = Object.entries(operation.requestBody.content)[0];
    parts.push(make("h4", {}, "Body"), make("p", {}, make("code", {}, type), " ", ...brief(content.schema),
      operation.requestBody.required ? "" : " (may be missing)"));
  }
  parts.push(make("h4", {}, "Answers"), table(["Status", "What", "Shape"], Object.entries(operation.responses).map(
    ([status, answer]) => [status, answer.description, Object.entries(answer.content || {}).flatMap(
      ([type, content], at) => [at ? ", " : "", ...brief(content.schema), make("small", {}, ` ${type}`)])])));
  parts.push(make("h4", {}, "Try"), make("pre", {}, example(operation, method, path)));
  return make("article", { id: operation.operationId }, ...parts);
}

function shape(name, schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([member, one]) => [
    [make("code", {}, member), required.has(member) ? "" : make("small", {}, " optional")], brief(one), one.description || "",
  ]);
  return make("article", { id: `shape-${name}` }, make("h3", {}, name),
    schema.description ? make("p", { class: "soft" }, schema.description) : null,
    rows.length ? table(["Member", "Form", "What"], rows) : make("p", {}, ...brief(schema)));
}

function search(text) {
  const wanted = text.trim().toLowerCase();
  for (const item of document.querySelectorAll("#index li")) item.hidden = !item.dataset.words.includes(wanted);
  for (const group of document.querySelectorAll("#index section"))
    group.hidden = [...group.querySelectorAll("li")].every((item) => item.hidden);
}

function render(api) {
  byId("version").textContent = api.info.version;
  byId("about").textContent = api.info.description;
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  for (const tag of api.tags) {
    const mine = operations.filter(({ operation }) => operation.tags.includes(tag.name));
    byId("operations").append(make("section", {}, make("h2", {}, tag.name, " ", make("small", {}, tag.description)),
      ...mine.map(({ path, method, operation }) => article(path, method, operation))));
    byId("index").append(make("section", {}, make("h2", {}, tag.name), make("ul", {},
      ...mine.map(({ path, method, operation }) => make("li",
        { "data-words": `${path} ${method} ${operation.operationId} ${operation.summary}`.toLowerCase() },
        make("a", { href: `#${operation.operationId}` }, make("span", { class: `method ${method}` }, method.toUpperCase()),
          path.replace("/api/v1", "")))))));
  }
  for (const [name, schema] of Object.entries(api.components.schemas).sort()) byId("shapes").append(shape(name, schema));
  byId("search").addEventListener("input", (event) => search(event.target.value));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("/schema/openapi.json")
  .then((answer) => answer.json())
  .then(render)
  .catch((error) => byId("operations").append(make("p", { role: "alert" }, `The document could not be read: ${error}`)));

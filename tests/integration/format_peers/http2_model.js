// Open Inference in JSON over HTTP/2 without TLS, by node's own HTTP/2 (nghttp2): `node http2_model.js serve PORT`, and a
// client that asks twelve times on one connection at once, with long fields, `node http2_model.js ask PORT`.
"use strict";
const http2 = require("http2");
const [what, port] = process.argv.slice(2);

function serve() {
  const server = http2.createServer({settings: {headerTableSize: 256}});
  server.on("stream", (stream, headers) => {
    let body = "";
    stream.on("data", (piece) => (body += piece));
    stream.on("end", () => {
      const fails = headers["x-fail"] === "yes";
      const data = fails ? [] : JSON.parse(body).inputs[0].data;
      stream.additionalHeaders({":status": 103, link: "</style.css>"});
      stream.respond({":status": fails ? 503 : 200, "content-type": "application/json", "x-long": "y".repeat(5000)});
      stream.end(JSON.stringify({outputs: [{name: "score", shape: [data.length], datatype: "FP64", data}]}));
    });
  });
  server.listen(Number(port), "127.0.0.1");
}

async function ask() {
  const client = http2.connect(`http://127.0.0.1:${port}`, {settings: {headerTableSize: 65536}});
  const one = (number) =>
    new Promise((resolve, reject) => {
      const stream = client.request({
        ":method": "POST",
        ":path": "/v2/models/churn/infer",
        "content-type": "application/json",
        "x-number": String(number),
        "x-long": "x".repeat(20000),
        "x-fail": number === 3 ? "yes" : "no",
      }, {endStream: false});
      let body = "", status = 0;
      stream.on("response", (headers) => (status = headers[":status"]));
      stream.on("data", (piece) => (body += piece));
      stream.on("end", () => resolve([status, ...JSON.parse(body).outputs[0].data]));
      stream.on("error", reject);
      const data = Array.from({length: 3}, (_, row) => number + row / 4);
      const text = JSON.stringify({inputs: [{name: "age", shape: [3], datatype: "FP64", data}], number});
      stream.write(text.slice(0, 20));
      stream.end(text.slice(20));
    });
  const answers = await Promise.all(Array.from({length: 12}, (_, number) => one(number)));
  client.close();
  console.log("ANSWERED " + JSON.stringify(answers));
}

what === "serve" ? serve() : ask();

// The application of origin_apps.py on node's own server: node origin.js PORT
const http = require("node:http");
const { createHash } = require("node:crypto");

const digest = (data) => createHash("sha256").update(data).digest("hex").slice(0, 8);

const server = http.createServer((request, response) => {
  const parts = [];
  const answer = () => {
    const body = Buffer.concat(parts);
    const target = digest(Buffer.from(request.url, "latin1"));
    response.end(`seen ${request.method} ${target} ${body.length} ${digest(body)}\n`);
  };
  if (request.url.startsWith("/early")) return answer();
  request.on("data", (part) => parts.push(part));
  request.on("end", answer);
});
server.listen(Number(process.argv[2]), "127.0.0.1");

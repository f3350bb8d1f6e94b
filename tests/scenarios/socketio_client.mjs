// The newest socket.io-client tells a story and prints what it saw, a JSON line each.
import { io } from "socket.io-client";

const [url, token, roomId, transports] = process.argv.slice(2);
const socket = io(url, { auth: { token }, transports: transports.split(",") });
const say = (what, data) => console.log(JSON.stringify([what, data]));
const ask = (event, data) => socket.timeout(8000).emitWithAck(event, data);

socket.on("connect_error", (error) => say("connect_error", { message: error.message, data: error.data }));
socket.onAny((event, data) => say(event, data));
socket.on("disconnect", (reason) => say("disconnected", reason));
socket.io.on("reconnect", () => say("reconnected"));
socket.on("connect", async () => {
  say("connected", socket.io.engine.transport.name);
  say("joined", await ask("join", { roomId }));
  say("sent", await ask("send", { roomId, text: "자바스크립트에서", clientId: "js-1" }));
  say("refused", await ask("send", { roomId, text: "" }));
  say("unknown", await ask("nonsense", {}));
  const acks = await Promise.all(Array.from({ length: 60 }, (_, i) => ask("ping", { i })));
  say("pings", acks.every((ack) => ack.ok));
  say("transport", socket.io.engine.transport.name);
});

// A SharedWorker: all windows of a browser that show this page follow the stream by one connection.
// A browser has six to a host, so the seventh window with one of its own would hang for good.

import { Audience } from "./audience.js";

const audience = new Audience("../api/v1/stream");

addEventListener("connect", ({ ports: [port] }) => {
  const follower = { tell: (event, message) => port.postMessage([event, message]) };
  port.addEventListener("message", ({ data }) => {
    if (data === "leave") audience.leave(follower);
    else audience.look(follower, data === "seen");
  });
  port.start();
});

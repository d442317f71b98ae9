// A SharedWorker: all windows of a browser that show this page follow the stream by one connection.
// A browser opens at most six to a host, so a seventh window with a connection of its own would wait for ever.

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

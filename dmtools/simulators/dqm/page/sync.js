// The link to one server: what is there (headers), what was fetched (documents), and how the link stands.

const RETRY_MS = 1000;
const GATHER_MS = 100;

export class Link {
  constructor(hosts, changed) {
    this.hosts = hosts;
    this.changed = changed;
    this.name = "ws://" + location.host + "/sync";
    this.forget();
    this.closed = false;
    this.state = "connecting";
    fetch("/info?hosts=" + encodeURIComponent(hosts))
      .then((answer) => answer.json())
      .then((info) => { this.name = `ws://${info.host}:9215/sync`; this.changed(); })
      .catch(() => {});
    this.open();
  }

  forget() {
    this.headers = new Map();
    this.documents = new Map();
    this.asked = new Map();
    this.rev = null;
    this.progress = 0;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss://" : "ws://";
    this.socket = new WebSocket(scheme + location.host + "/sync?hosts=" + encodeURIComponent(this.hosts));
    this.socket.onopen = () => {
      this.state = "open";
      this.asked.clear();
      this.send({ event: "sync_request", known_rev: this.rev });
      this.changed();
    };
    this.socket.onmessage = (message) => this.heard(JSON.parse(message.data));
    this.socket.onclose = () => {
      this.state = "closed";
      this.changed();
      if (!this.closed) this.timer = setTimeout(() => this.open(), RETRY_MS);
    };
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  heard(message) {
    if (message.event === "update_headers") this.take(message);
    if (message.event === "update_documents") {
      for (const one of message.documents) {
        this.documents.set(one._id, one);
        this.asked.delete(one._id);
      }
    }
    if (message.event === "sim") breakDown(message);
    this.changed();
  }

  take(message) {
    if (this.rev !== null && message.sync_to_rev < this.rev) this.forget(); // another server than before
    for (const header of message.headers) this.headers.set(header._id, header);
    this.rev = message.rev[1];
    this.progress = Math.floor((100 * message.total_sent) / message.total_avail);
    this.state = message.rev[1] >= message.sync_to_rev ? "live" : "sync";
  }

  // Asks for the documents of these headers that are not here in their newest revision; many at once.
  want(headers) {
    const lacking = headers.filter((header) => {
      const here = this.documents.get(header._id);
      return (!here || here._rev < header._rev) && this.asked.get(header._id) !== header._rev;
    });
    for (const header of lacking) this.asked.set(header._id, header._rev);
    if (!lacking.length) return;
    if (!this.gathered) {
      this.gathered = [];
      setTimeout(() => {
        this.send({ event: "request_documents", ids: this.gathered });
        this.gathered = null;
      }, GATHER_MS);
    }
    this.gathered.push(...lacking.map((header) => header._id));
  }

  get label() {
    return this.state === "sync" ? `sync ${this.progress}%` : this.state;
  }

  get colour() {
    return { live: "success", closed: "danger" }[this.state] || "warning";
  }
}

// Faults on demand: what a page may do that never ends, waits for a person, or looks otherwise.
export const broken = { markup: false };

function breakDown({ op, reason, seconds }) {
  const soon = 1000 * (seconds === null ? 1 : seconds);
  if (op === "markup") broken.markup = true;
  if (op === "alert") setTimeout(() => alert(reason || "The session is about to end"), soon);
  if (op === "busy") setTimeout(() => { for (;;); }, soon);
}

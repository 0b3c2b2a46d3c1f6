// One stream of server-sent events per page: closed while the page is hidden, opened again by itself, and
// a banner within 5 s of a lost connection (ui.md "Live"). `listen({experiment, station, command}, handlers)`;
// `handlers.back` is called after every reopening, so that the page can fetch what it missed.
const KINDS = ["sample", "event", "alarm", "station", "command", "reading"];
// The server sends a ping after 2 s without news; silence beyond this is a lost connection.
const SILENCE_MS = 4000;
// Between tries to open a broken stream again.
const RETRY_MS = 1500;

const banner = document.getElementById("lost");
const since = document.getElementById("lost-since");

// A part of a page that did not come: the banner says so, and `back` asks again.
export const unanswered = () => {};

class Stream {
  constructor(query, handlers) {
    this.address = "/api/v1/stream/?" + new URLSearchParams(query);
    this.handlers = handlers;
    this.source = null;
    this.last = "";
    this.heard = Date.now();
    this.opened = false;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    // A page kept by the browser for "back" must not hold a stream; one brought back needs its own.
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    addEventListener("offline", () => this.lost());
    setInterval(() => this.watch(), 1000);
    this.open();
  }

  open() {
    if (this.source || document.hidden) return;
    this.heard = Date.now();
    const resume = this.last ? `&last_event_id=${encodeURIComponent(this.last)}` : "";
    const source = new EventSource(this.address + resume);
    this.source = source;
    source.onopen = () => this.alive(true);
    source.onerror = () => this.broken(source);
    for (const kind of KINDS) source.addEventListener(kind, (event) => this.receive(kind, event));
    for (const kind of ["ping", "message"]) source.addEventListener(kind, () => this.alive());
  }

  close() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  receive(kind, event) {
    this.alive();
    if (event.lastEventId) this.last = event.lastEventId;
    let body;
    try {
      body = JSON.parse(event.data);
    } catch {
      return;
    }
    this.handlers[kind]?.(body);
  }

  alive(opened = false) {
    this.heard = Date.now();
    this.connected = true;
    if (banner) banner.hidden = true;
    if (!opened) return;
    if (this.opened) this.handlers.back?.();
    this.opened = true;
  }

  broken(source) {
    if (source !== this.source) return;
    this.connected = false;
    this.close();
    this.retry = setTimeout(() => this.opening(), RETRY_MS);
  }

  // A connection may be dead without an error (a cable pulled): then only the silence tells.
  watch() {
    if (document.hidden || Date.now() - this.heard < SILENCE_MS) return;
    this.lost();
    if (!this.source || this.connected) {
      this.connected = false;
      this.close();
      this.opening();
    }
  }

  // Like open(), but what was heard last stays what the banner says.
  opening() {
    const heard = this.heard;
    this.open();
    this.heard = heard;
  }

  lost() {
    if (!banner || document.hidden) return;
    since.textContent = new Date(this.heard).toLocaleTimeString();
    banner.hidden = false;
  }
}

export const listen = (query, handlers) => new Stream(query, handlers);

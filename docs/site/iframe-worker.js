/* Search without a server: browsers start no workers from file:// addresses. There, a hidden frame takes
   the worker's place, an idea of the package iframe-worker (Martin Donath); written for these pages. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.inner = frame.contentWindow;
      const inner = this.inner;
      inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inner.importScripts = (...urls) =>
        urls.reduce((before, each) => before.then(() => load(inner, each)), Promise.resolve());
      load(inner, String(url)).then(() => {
        this.ready = true;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      });
    }
    postMessage(data) {
      if (!this.ready) this.waiting.push(data);
      else this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }));
    }
    terminate() {
      this.inner.frameElement.remove();
    }
  };
}

function load(inner, url) {
  return new Promise((done, failed) => {
    const script = inner.document.createElement("script");
    script.src = new URL(url, location.href).href;
    script.onload = done;
    script.onerror = failed;
    inner.document.body.appendChild(script);
  });
}

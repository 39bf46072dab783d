// Makes the chat live: shows messages as they come and sends forms without leaving the page. Everything also works
// without this file; texts arrive escaped from the server and are never built here.
"use strict";

(() => {
  const list = document.getElementById("messages");
  if (!list) return;
  const empty = document.getElementById("empty");
  const connection = document.getElementById("connection");
  const notifyButton = document.getElementById("notify");
  const message = document.getElementById("message");
  const title = document.title;
  let unseen = 0;
  let over = false;
  let source = null;
  // The message that was answered last: its buttons lose the focus while the answer is on its way.
  let acted = null;

  // --- showing messages

  const parse = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html.trim();
    return holder.content.firstElementChild;
  };

  const atBottom = () => window.innerHeight + window.scrollY >= document.body.scrollHeight - 120;
  // The newest message; when it is taller than the window, its beginning.
  const toBottom = () => {
    window.scrollTo(0, document.body.scrollHeight);
    const last = list.lastElementChild;
    const room = window.innerHeight - document.querySelector(".top").offsetHeight - document.querySelector(".compose").offsetHeight;
    if (last && last.offsetHeight > room) last.scrollIntoView({ block: "start" });
  };

  // What is being typed survives the replacement of its message.
  const carryOver = (from, to) => {
    for (const field of from.querySelectorAll("textarea, input[type=text], input[type=checkbox]")) {
      const same = [...to.querySelectorAll("textarea, input")].find(
        (other) => other.name === field.name && (field.type !== "checkbox" || other.value === field.value));
      if (!same) continue;
      if (field.type === "checkbox") same.checked = field.checked;
      else if (field.value) same.value = field.value;
      if (document.activeElement === field) queueMicrotask(() => same.focus());
    }
    const hadFocus = from.contains(document.activeElement) || (from.id === acted && document.activeElement === document.body);
    if (!from.querySelector(".proof") && to.querySelector(".proof") && hadFocus) {
      queueMicrotask(() => (to.querySelector(".proof textarea") || to).focus());
    }
  };

  const show = (item) => {
    const id = "m-" + item.id;
    const old = document.getElementById(id);
    if (old && old.dataset.version === item.version) return;
    const stick = atBottom();
    const fresh = parse(item.html);
    if (!fresh) return;
    if (old) {
      carryOver(old, fresh);
      old.replaceWith(fresh);
    } else {
      const later = [...list.querySelectorAll(".message")].find((m) => Number(m.dataset.at) > item.at);
      list.insertBefore(fresh, later || null);
    }
    if (empty) empty.hidden = true;
    if (old ? stick && fresh === list.lastElementChild && !fresh.contains(document.activeElement) : stick || item.fresh) toBottom();
  };

  // What came over the stream while a history was on its way is newer than that history.
  const shown = new Map();
  let tick = 0;
  const showAsOf = (when, item) => {
    if ((shown.get(item.id) || 0) > when) return;
    shown.set(item.id, when);
    show(item);
  };

  const sync = async () => {
    const asked = ++tick;
    try {
      const answer = await fetch("/chat/messages", { headers: { Accept: "application/json" } });
      if (answer.status === 401) return ended((await answer.json()).message);
      if (!answer.ok) return;
      for (const item of (await answer.json()).messages) showAsOf(asked, item);
    } catch { /* the stream says when we are back */ }
  };

  // --- hearing of messages

  const say = (text) => {
    connection.textContent = text;
    connection.hidden = !text;
  };

  const ended = (text) => {
    over = true;
    if (source) source.close();
    say(text);
  };

  const connect = () => {
    if (over) return;
    source = new EventSource("/chat/stream");
    source.addEventListener("hello", () => { say(""); sync(); });
    source.addEventListener("refresh", sync);
    source.addEventListener("message", (event) => {
      const item = JSON.parse(event.data);
      showAsOf(++tick, item);
      if (item.fresh) announce(item);
    });
    source.addEventListener("error", () => {
      if (over) return;
      say("Connecting again. What you typed stays here.");
      if (source.readyState === EventSource.CLOSED) {
        sync();
        setTimeout(connect, 3000);
      }
    });
  };

  // --- being noticed

  const announce = (item) => {
    if (!document.hidden) return;
    unseen += 1;
    document.title = "(" + unseen + ") " + title;
    if ("Notification" in window && Notification.permission === "granted") {
      const note = new Notification("Security chat", { body: item.notification, tag: item.id, requireInteraction: item.loud });
      note.addEventListener("click", () => { window.focus(); note.close(); });
    }
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    unseen = 0;
    document.title = title;
    if (!over) sync();
  });

  if ("Notification" in window && Notification.permission === "default") {
    notifyButton.hidden = false;
    notifyButton.addEventListener("click", async () => {
      notifyButton.hidden = (await Notification.requestPermission()) !== "default";
    });
  }

  // --- answering

  const newId = () =>
    [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  const complain = (form, text) => {
    const place = form.querySelector(".form-error");
    place.textContent = text;
    place.hidden = !text;
  };

  const send = async (form, button) => {
    const fields = new URLSearchParams(new FormData(form));
    if (button && button.name) fields.set(button.name, button.value);
    const buttons = [...form.querySelectorAll("button")];
    const focused = document.activeElement;
    const around = form.closest(".message");
    acted = around && around.id;
    complain(form, "");
    buttons.forEach((b) => { b.disabled = true; });
    let renew = false;
    try {
      const answer = await fetch(form.action, { method: "POST", body: fields, headers: { Accept: "application/json" } });
      const isJson = (answer.headers.get("content-type") || "").includes("json");
      const said = isJson ? await answer.json() : { ok: false, message: "Not sent, please reload the page and try again." };
      if (answer.status === 401) return ended(said.message);
      // A busy or failing service may have taken it: the same event goes out again then.
      renew = answer.status < 500 && answer.status !== 429;
      if (said.message) complain(form, said.message);
      if (said.ok && form.id === "say") {
        message.value = "";
        grow();
      }
      const code = form.querySelector("input.code");
      if (!said.ok && renew && code) {
        code.value = "";
        code.focus();
      }
      if (said.ok || renew) await sync();
    } catch {
      complain(form, "Not sent, please try again. What you typed is still here.");
    } finally {
      if (renew) form.querySelector("[name=event]").value = newId();
      buttons.forEach((b) => { b.disabled = false; });
      if (focused && focused.isConnected && document.activeElement === document.body) focused.focus();
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.live) return;
    event.preventDefault();
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    send(form, event.submitter).finally(() => { delete form.dataset.busy; });
  });

  const grow = () => {
    message.style.height = "auto";
    message.style.height = message.scrollHeight + 2 + "px";
  };
  message.addEventListener("input", grow);

  // Enter sends; Shift+Enter is a new line.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    const field = event.target;
    if (field instanceof HTMLTextAreaElement && field.form && field.form.dataset.live) {
      event.preventDefault();
      const code = field.form.querySelector("input.code");
      if (code && !code.value) code.focus();
      else field.form.requestSubmit();
    }
  });

  connect();
  toBottom();
  // A safety net behind the stream.
  setInterval(() => { if (!over && !document.hidden) sync(); }, 60000);
})();

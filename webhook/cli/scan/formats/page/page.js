"use strict";
// Every text of the report becomes a text node or the value of an attribute, never markup.
(() => {
  const CHUNK = 50; // rows in one tbody, which a browser lays out only where it is near the view
  const SLICE = 12; // milliseconds of making rows before the browser may draw and take a key
  const PAUSE = 60; // milliseconds without a key before a filter is applied
  const news = document.getElementById("news");
  const field = document.getElementById("filter");
  const collator = new Intl.Collator("en", { numeric: true });

  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const textOf = (cell) => String(Array.isArray(cell) ? cell[0] : cell);
  const keyOf = (cell) => (Array.isArray(cell) ? cell[1] : cell);
  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number" ? one - other : collator.compare(one, other);
  const counted = (number) => number.toLocaleString("en");

  class Table {
    constructor(document_, place) {
      Object.assign(this, document_);
      this.place = place;
      this.sort = { column: -1, direction: 0 };
      this.elements = new Map(); // of a row that was shown before
      this.isStale = true;
      this.pass = 0;
      this.rest = null;
      this.texts = this.rows.map((row) =>
        row.map((cell) => (Array.isArray(cell) ? `${cell[0]}\n${cell[2]}` : String(cell)).toLowerCase()),
      );
      this.matching = this.rows.map((_, index) => index);
      this.template = this.rowTemplate();
      this.table = make("table", {
        class: "grid", role: "table", "data-table": this.id, "aria-label": place.querySelector("h2").textContent,
      });
      this.status = make("p");
      this.nothing = make("p", { class: "quiet", hidden: "" });
      this.table.append(this.header());
      const heading = make("div", { class: "heading" }, place.querySelector("h2"), this.status);
      place.replaceChildren(heading, this.table, this.nothing);
    }

    shown() {
      return this.columns.map((column, index) => [column, index]).filter(([column]) => column.kind !== "hidden");
    }

    header() {
      const row = make("tr", { role: "row" });
      for (const [column, index] of this.shown()) {
        const button = make("button", { type: "button" }, column.label);
        button.addEventListener("click", () => this.sortBy(index));
        const attributes = { role: "columnheader", scope: "col", class: column.kind, "data-label": column.label };
        row.append(make("th", attributes, button));
      }
      return make("thead", { role: "rowgroup" }, row);
    }

    rowTemplate() {
      const row = make("tr", { role: "row" });
      for (const [column] of this.shown()) {
        row.append(make("td", { class: column.kind, role: "cell", "data-label": column.label }));
      }
      return row;
    }

    element(index) {
      const known = this.elements.get(index);
      if (known) return known;
      const row = this.template.cloneNode(true);
      let place = row.firstChild;
      for (const [column, at] of this.shown()) {
        this.fill(place, column.kind, this.rows[index][at]);
        place = place.nextSibling;
      }
      this.elements.set(index, row);
      return row;
    }

    fill(place, kind, cell) {
      const text = textOf(cell);
      const remark = Array.isArray(cell) && cell[2] ? [make("small", {}, cell[2])] : [];
      if (kind === "badge") place.append(make("span", { class: "tag", "data-value": text }, text), ...remark);
      else if (kind === "command" && text) {
        place.append(make("code", {}, text), make("button", { type: "button", class: "copy" }, "Copy"));
      } else if (remark.length) place.append(make("span", {}, text), ...remark);
      else place.textContent = text;
    }

    sortBy(column) {
      const same = this.sort.column === column;
      const direction = same ? { 0: 1, 1: -1, [-1]: 0 }[this.sort.direction] : 1;
      this.sort = { column: direction ? column : -1, direction };
      this.shown().forEach(([{ label }, index], place) => {
        const header = this.table.tHead.rows[0].cells[place];
        if (index !== this.sort.column) return header.removeAttribute("aria-sort");
        const name = direction > 0 ? "ascending" : "descending";
        header.setAttribute("aria-sort", name);
        news.textContent = `Sorted by ${label}, ${name}`;
      });
      if (!direction) news.textContent = "In the order of the report";
      this.isStale = true;
      this.show();
    }

    filterBy(terms) {
      const tests = terms.map((term) => this.test(term));
      const matching = [];
      this.texts.forEach((texts, index) => {
        if (tests.every((test) => test(texts))) matching.push(index);
      });
      this.isStale ||= matching.length !== this.matching.length || matching.some((row, at) => row !== this.matching[at]);
      this.matching = matching;
    }

    // A word before ":" or "=" that names no column of this table is a part of the text.
    test({ isNot, column, operator, text, whole }) {
      const at = this.columns.findIndex(({ key }) => key === column);
      const isSeen = this.columns.map(({ kind }) => kind !== "hidden");
      if (at < 0) return (texts) => texts.some((one, place) => isSeen[place] && one.includes(whole)) !== isNot;
      if (operator === ":") return (texts) => texts[at].includes(text) !== isNot;
      const choices = text.split("|");
      return (texts) => choices.includes(texts[at].split("\n", 1)[0]) !== isNot;
    }

    order() {
      const { column, direction } = this.sort;
      if (!direction) return this.matching;
      const keys = this.rows.map((row) => keyOf(row[column]));
      return [...this.matching].sort((one, other) => direction * compare(keys[one], keys[other]) || one - other);
    }

    // The first rows at once, the others in slices, so that a key or a scroll never waits for them.
    // A tbody comes with its rows: the browser would remember that an empty one has no height.
    show() {
      if (!this.isStale) return;
      this.isStale = false;
      const pass = ++this.pass;
      const order = this.order();
      for (const body of [...this.table.tBodies]) body.remove();
      this.tell();
      let next = 0;
      const some = (until) => {
        while (next < order.length && performance.now() < until) {
          const rows = order.slice(next, (next += CHUNK)).map((index) => this.element(index));
          this.table.append(make("tbody", { role: "rowgroup" }, ...rows));
        }
        this.table.setAttribute("aria-busy", String(next < order.length));
      };
      const later = () => {
        if (pass !== this.pass) return;
        some(performance.now() + SLICE);
        if (next < order.length) setTimeout(later);
      };
      this.rest = () => some(Infinity);
      later();
      this.measure();
    }

    // How high the rows will be that are not laid out yet, so that the scroll bar tells the truth.
    measure() {
      const [body] = this.table.tBodies;
      if (!body || !body.offsetHeight) return;
      const height = (body.offsetHeight / body.rows.length) * CHUNK;
      this.table.style.setProperty("--chunk", `${Math.round(height)}px`);
    }

    tell() {
      const [some, all] = [this.matching.length, this.rows.length];
      this.status.textContent = some === all ? `${counted(all)} ${this.noun}` : `${counted(some)} of ${counted(all)} ${this.noun}, filtered by “${field.value.trim()}”`;
      this.table.hidden = some === 0;
      this.nothing.hidden = some > 0;
      this.nothing.textContent = all ? "No row has all of these words." : this.empty;
    }
  }

  const tables = JSON.parse(document.getElementById("report").textContent).tables.map(
    (one) => new Table(one, document.querySelector(`div[data-table="${one.id}"]`)),
  );
  const sections = [...document.querySelectorAll("main > section")];
  const tabs = [...document.querySelectorAll("#sections a")];
  const tablesOf = (section) => tables.filter((table) => section.contains(table.place));
  const current = () => sections.find((section) => !section.hidden);

  const open = (id) => {
    const target = sections.find((section) => section.id === id) ?? sections[0];
    for (const section of sections) section.hidden = section !== target;
    for (const tab of tabs) {
      const isOpen = tab.hash === `#${target.id}`;
      tab.setAttribute("aria-selected", String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
      if (isOpen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    for (const table of tablesOf(target)) table.show();
  };
  // A link to something within a section leaves it open.
  const follow = () => {
    const id = location.hash.slice(1);
    if (!id || sections.some((section) => section.id === id)) open(id);
  };
  // A change of location.hash would take the focus away from the tab.
  const go = (hash) => {
    history.pushState(null, "", hash);
    follow();
    scrollTo(0, 0);
  };

  const TERM = /(-?)(?:([a-z]+)([:=]))?(?:"([^"]*)"|(\S+))/g;
  const termsOf = (text) =>
    [...text.toLowerCase().matchAll(TERM)].map(([all, minus, column, operator, quoted, word]) => ({
      isNot: minus === "-", column, operator, text: quoted ?? word, whole: `${column ?? ""}${operator ?? ""}${quoted ?? word}`,
    }));
  const filter = () => {
    const terms = termsOf(field.value);
    for (const table of tables) table.filterBy(terms);
    for (const [place, tab] of tabs.entries()) {
      const count = tab.querySelector(".count");
      if (!count) continue;
      const own = tablesOf(sections[place]);
      count.textContent = counted(own.reduce((sum, table) => sum + table.matching.length, 0));
      tab.classList.toggle("filtered", terms.length > 0);
    }
    for (const table of tablesOf(current())) table.show();
    for (const table of tables) table.tell();
    const shown = tablesOf(current()).map((table) => table.status.textContent);
    news.textContent = shown.join("; ") || tabs.slice(1).map((tab) => tab.textContent).join(", ");
  };
  let waiting = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, PAUSE);
  });
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    filter();
    const found = tables.find((table) => table.matching.length);
    if (!tablesOf(current()).length && found) go(`#${sections.find((one) => one.contains(found.place)).id}`);
  });
  const clear = () => {
    field.value = "";
    filter();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && event.target !== field) {
      event.preventDefault();
      field.focus();
      field.select();
    } else if (event.key === "Escape" && event.target === field) clear();
  });
  document.getElementById("sections").addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    tab.focus();
    go(tab.hash);
  });

  const copy = async (button) => {
    const command = button.previousSibling;
    try {
      await navigator.clipboard.writeText(command.textContent);
      news.textContent = "Copied";
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command);
      news.textContent = "Selected; copy it with the keyboard";
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
    const link = event.target.closest("a[href^='#']:not(.skip)");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link.hash);
    // The link is in a section that is hidden now, and its focus would be lost.
    if (!tabs.includes(link)) current().focus({ preventScroll: true });
    if (link.dataset.filter === undefined) return;
    field.value = link.dataset.filter;
    filter();
  });

  const theme = document.getElementById("theme");
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (preferred.matches ? "dark" : "light")) === "dark";
  const label = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `${theme.textContent} colours`);
  };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  preferred.addEventListener("change", label);

  const panels = () => {
    const list = document.getElementById("sections");
    list.setAttribute("role", "tablist");
    for (const [place, tab] of tabs.entries()) {
      const section = sections[place];
      tab.id = `tab-${section.id}`;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", section.id);
      section.setAttribute("role", "tabpanel");
      section.tabIndex = -1;
      section.setAttribute("aria-labelledby", tab.id);
    }
  };
  addEventListener("hashchange", follow);
  addEventListener("resize", () => tablesOf(current()).forEach((table) => table.measure()));
  addEventListener("beforeprint", () => {
    for (const table of tables) {
      table.show();
      table.rest();
    }
  });
  theme.hidden = field.form.hidden = false;
  label();
  document.documentElement.classList.add("scripted");
  panels();
  follow();
  for (const table of tables) table.tell();
})();

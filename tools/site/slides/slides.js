// Lays a notebook out as slides of 1280 x 720. A new column of slides begins at each "##", a new slide at each "###". A
// step (from a cell that is marked as a subslide to the next) goes on a slide that has room for all of it, or on a new
// one. A figure stands with its caption. What is a little too tall is made a little smaller, and otherwise divided at its
// lines or list items. Left out: code that draws, sliders (their figure is there), and what is marked to be skipped.

const HEIGHT = 660, WIDTH = 1180, SMALLEST = 0.62; // of the content; SMALLEST is the last resort's scale

// --- from cells to blocks, which stay whole unless they are too tall ---

function wrap(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

const MATPLOTLIB = /\b(?:ax|axes|fig|figure|plt)\w*(?:\[[^\]]*\])?\.\w+\(|\.(?:plot|quiver|annotate|legend|set_data|set_text)\(/g;

function blocks(notebook) {
  const found = [];
  for (const { firstElementChild: cell, dataset } of notebook.children) {
    const before = found.length;
    const prose = cell.querySelector(":scope > .inner_cell > .rendered_html");
    if (prose) {
      for (const node of [...prose.children]) {
        const last = found.at(-1);
        if (last?.tagName === "FIGURE" && !last.querySelector("figcaption") && /^Figure \d/.test(node.textContent))
          last.append(wrap("figcaption", "", ...node.childNodes));
        else found.push(node);
      }
      if (dataset.slide !== "-" && found[before]) found[before].step = true;
      continue;
    }
    const widget = cell.matches(".celltag_widget"), lab = cell.querySelector(".recorded");
    if (widget && !lab) continue;
    const code = cell.querySelector(".input .highlight");
    const outputs = cell.querySelector(".output_subarea"), draws = outputs // or defines what draws
      ? cell.querySelector(".output_subarea img") : (code?.textContent.match(MATPLOTLIB) ?? []).length > 1;
    if (code && !widget && !draws) found.push(wrap("div", "code", code));
    for (const output of cell.querySelectorAll(".output_subarea")) {
      const image = output.querySelector("img"), printed = output.querySelector("pre");
      if (image) found.push(wrap("figure", "", image));
      else if (printed) { printed.className = "printed"; found.push(printed); }
      else found.push(wrap("div", "widget", ...output.childNodes));
    }
  }
  return found;
}

// Code as large as its longest line allows.
function enlarge(block) {
  const longest = Math.max(...block.textContent.split("\n").map((row) => row.length));
  if (block.matches(".code")) block.querySelector("pre").style.fontSize = `${Math.min(22, Math.max(18, 1900 / longest))}px`;
}

// --- dividing what is too tall ---

// The lines [from, to) of a <pre>, with their colours.
function lines(pre, from, to) {
  const text = pre.textContent.replace(/\n$/, ""), ends = [...text.matchAll(/\n|$/g)].map((m) => m.index);
  const range = document.createRange(), walker = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT);
  const [a, b] = [from ? ends[from - 1] + 1 : 0, ends[Math.min(to, ends.length) - 1]];
  let at = 0, begun = false;
  for (let node; (node = walker.nextNode()); at += node.length) {
    if (!begun && a < at + node.length) { range.setStart(node, a - at); begun = true; }
    if (begun && b <= at + node.length) { range.setEnd(node, b - at); break; }
  }
  const copy = pre.cloneNode(false);
  copy.append(range.cloneContents());
  return copy;
}

function divided(block) {
  const pre = block.matches("pre") ? block : block.querySelector(".highlight pre");
  if (pre) {
    const rows = pre.textContent.replace(/\n$/, "").split("\n"), middle = rows.length / 2;
    // the best place near the middle: before a line that is not indented, after an empty one
    const cost = (i) => Math.abs(i - middle) + (rows[i - 1].trim() ? 3 : 0) + (/^\s/.test(rows[i]) ? 3 : 0);
    const at = rows.map((_, i) => i).slice(1).sort((i, j) => cost(i) - cost(j))[0];
    if (!at) return null;
    return [[0, at], [at, rows.length]].map(([from, to]) => {
      const part = lines(pre, from, to);
      return pre === block ? part : wrap("div", "code", wrap("div", "highlight", part));
    });
  }
  const list = block.matches("ul, ol") ? block : null, half = list && Math.ceil(list.children.length / 2);
  if (half && list.children.length > 1) {
    const second = list.cloneNode(false);
    if (list.matches("ol")) second.start = list.start + half;
    second.append(...[...list.children].slice(half));
    return [list, second];
  }
  return null;
}

// --- from blocks to slides ---

function layOut(found, root) {
  const columns = [];
  let column, slide, title = null;
  const fits = () => slide.lastChild.getBoundingClientRect().bottom - slide.getBoundingClientRect().top <= HEIGHT + 34;
  const begin = (again) => {
    slide = wrap("section", "slide");
    column.append(slide);
    if (again && title) slide.append(wrap("h2", "again", title));
  };
  const empty = () => [...slide.children].every((node) => /^H[123]$/.test(node.tagName));
  const displayed = (node) => node?.querySelector('mjx-container[display="true"]');
  const leads = (node) => node && (/^H[123]$/.test(node.tagName) // or a short paragraph that goes on, or in bold
    || (node.tagName === "P" && !displayed(node) && node.clientHeight < 170
        && (!/[.!?…]["'”)*]*\s*$/.test(node.textContent) || node.textContent === node.querySelector("strong")?.textContent)));
  const wish = (image) => Math.min(image.naturalHeight, image.naturalHeight * WIDTH / image.naturalWidth);
  const short = (node) => node?.tagName === "P" && node.clientHeight < 90; // two lines
  // Does a paragraph over a figure leave it large enough, with its caption at its smallest?
  const over = (paragraph, figure) => {
    const text = paragraph.clientHeight, least = short(paragraph) ? 0.72 : 0.85;
    slide.append(figure);
    figure.style.setProperty("--caption", "18px");
    const need = (figure.querySelector("figcaption")?.clientHeight ?? 0) + least * wish(figure.querySelector("img"));
    figure.remove();
    return text + need + 80 < HEIGHT; // 80: the title and gaps
  };
  const smaller = (node, property, ...values) => { // whether the slide fits with one of these
    const before = node.style[property];
    for (const value of values) {
      node.style[property] = value;
      if (fits()) return true;
    }
    node.style[property] = before;
    return false;
  };
  const SIZES = ["18px", "17px", "16px"]; // of code
  const place = (block, last) => { // `last`: of its step
    const above = slide.lastChild;
    const begun = [...slide.children].every((node) => /^(H[123]|P)$/.test(node.tagName))
      && (above ? above.getBoundingClientRect().bottom - slide.getBoundingClientRect().top : 0) < 260;
    slide.append(block);
    const image = block.querySelector("img");
    if (image) {
      const wanted = wish(image);
      for (const size of [21, 20, 19, 18]) { // a smaller caption is better than a smaller picture
        block.style.setProperty("--caption", `${size}px`);
        image.style.maxHeight = "10px"; // what is left of the slide is the picture's
        const rest = HEIGHT + 34 - (slide.lastChild.getBoundingClientRect().bottom - slide.getBoundingClientRect().top);
        image.style.maxHeight = `${Math.max(10, rest + 10)}px`;
        if (image.clientHeight >= 0.95 * wanted) return;
      }
      const alone = [...slide.children].filter((node) => node !== block).every((node) => /^H[123]$/.test(node.tagName));
      if (alone || image.clientHeight >= 0.85 * wanted) return;
    } else if (fits()) return;
    else if (begun && block.matches(".code") && smaller(block.querySelector("pre"), "fontSize", ...SIZES)) return;
    else if (begun && block.matches("table") && smaller(block, "zoom", 0.95, 0.9, 0.85)) return;
    else if (block.matches(".printed") && above?.matches(".code")
             && smaller(above.querySelector("pre"), "fontSize", ...SIZES)) return;
    else if (last && block.matches("p, ul, ol, blockquote") && smaller(slide, "fontSize", "26px", "25px", "24px")) return;
    block.remove();
    // A heading, or a sentence that goes on, goes along to the next slide, and code with what it printed.
    const carried = [], printed = block.matches(".printed, .widget");
    const middle = block.tagName === "P" && /^[a-z]/.test(block.textContent); // of a sentence, after a formula
    const lab = block.matches(".widget") && short(slide.lastChild);
    const along = (node) => (leads(node) || (image && short(node) && slide.children.length <= 2))
      && (!image || node.tagName !== "P" || over(node, block));
    while (along(slide.lastChild) || (printed && slide.lastChild?.matches(".code")) || (lab && !carried.length)
           || (middle && !carried.some(displayed) && displayed(slide.lastChild))) {
      if (slide.lastChild.matches(".again, h1")) break;
      carried.unshift(slide.lastChild);
      slide.lastChild.remove();
    }
    if (slide.children.length && !empty()) {
      begin(true);
      slide.append(...carried);
      return place(block, last);
    }
    slide.append(...carried);
    if (carried.some((node) => node.matches(".code") || (middle && displayed(node)))) { // together they are too tall
      begin(true);
      return place(block, last);
    }
    const pre = block.querySelector(".highlight pre"); // a little smaller is better than in two pieces
    if (pre) {
      slide.append(block);
      if (smaller(pre, "fontSize", ...SIZES)) return;
      block.remove();
    }
    const parts = divided(block);
    if (parts) {
      place(parts[0]);
      begin(true);
      return place(parts[1]);
    }
    slide.append(block);
    for (let scale = 0.95; !fits() && scale > SMALLEST; scale -= 0.05) block.style.zoom = scale;
  };
  // Is there room on this slide for these blocks?
  const room = (...some) => {
    slide.append(...some);
    const enough = fits();
    for (const block of some) block.remove();
    return enough;
  };
  const ends = (i) => !found[i] || found[i].step || /^H[123]$/.test(found[i].tagName);
  const starts = (i) => { // does this step begin a slide?
    let end = i + 1;
    while (!ends(end)) end += 1;
    if (room(...found.slice(i, end))) return false;
    if (!leads(found[i]) || found[i + 1]?.tagName !== "FIGURE") return true;
    slide.append(found[i]); // a sentence for which the figure below leaves no room
    const apart = fits() && !over(found[i], found[i + 1]);
    found[i].remove();
    return !apart;
  };
  found.forEach(enlarge);
  for (const [i, block] of found.entries()) {
    if (/^H[12]$/.test(block.tagName)) {
      title = block.tagName === "H2" ? block.textContent.replace("¶", "") : null;
      root.append((column = document.createElement("section")));
      columns.push(column);
      begin(false);
    } else if (!empty() && (block.tagName === "H3" || (block.step && starts(i)))) begin(true);
    place(block, ends(i + 1));
    const wide = slide.lastChild.scrollWidth; // a formula that is too wide
    if (wide > WIDTH + 1 && !slide.lastChild.matches("figure, .code, .widget"))
      slide.lastChild.style.zoom = Math.max(SMALLEST, WIDTH / wide);
  }
  for (const one of columns) if (one.children.length === 1) one.replaceWith(one.firstChild);
}

addEventListener("load", async () => {
  const notebook = document.getElementById("notebook"), root = document.querySelector(".slides");
  await MathJax.startup.promise;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  await document.fonts.ready;
  const drawn = () => [...document.querySelectorAll(".recorded")].every((lab) => +lab.dataset.painted);
  for (let i = 0; i < 300 && !drawn(); i++) await new Promise(requestAnimationFrame); // labs have their height now
  document.body.classList.add("laying-out");
  layOut(blocks(notebook), root);
  notebook.remove();
  document.body.classList.remove("laying-out");
  await Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: "c/t", pdfSeparateFragments: false,
    transition: matchMedia("(prefers-reduced-motion: reduce)").matches ? "none" : "fade",
    transitionSpeed: "fast", controlsTutorial: false,
  });
  const focus = () => { // links and buttons of slides that are not shown cannot be reached
    for (const slide of root.querySelectorAll(".slide")) slide.inert = slide !== Reveal.getCurrentSlide();
  };
  Reveal.on("slidechanged", focus);
  focus();
  document.body.dataset.ready = true;
});

// Lays a notebook out as slides of 1280 x 720. A new column of slides begins at each "##", a new slide at each "###" and
// wherever the next block would not fit. A figure stands with its caption; what is too tall is divided at its lines or
// list items, and only then made smaller. Left out: the import cell, sliders (their figure is there), the solutions.

const HEIGHT = 660, WIDTH = 1180, SMALLEST = 0.62; // of the content; SMALLEST is the last resort's scale

// --- from cells to blocks, which stay whole unless they are too tall ---

function wrap(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

function blocks(notebook) {
  const found = [];
  let imports = true;
  for (const cell of notebook.children) {
    const prose = cell.querySelector(":scope > .inner_cell > .rendered_html");
    if (prose) {
      for (const node of [...prose.children]) {
        const last = found.at(-1);
        if (last?.tagName === "FIGURE" && !last.querySelector("figcaption") && /^Figure \d/.test(node.textContent))
          last.append(wrap("figcaption", "", ...node.childNodes));
        else found.push(node);
      }
      continue;
    }
    const widget = cell.matches(".celltag_widget"), lab = cell.querySelector(".recorded");
    if (widget && !lab) continue;
    const code = cell.querySelector(".input .highlight");
    if (code && !imports && !widget) found.push(wrap("div", "code", code));
    imports = false;
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
  const leads = (node) => node && (/^H[123]$/.test(node.tagName) || (node.tagName === "P" && /:\s*$/.test(node.textContent)));
  const place = (block) => {
    slide.append(block);
    const image = block.querySelector("img");
    if (image) {
      image.style.maxHeight = "10px"; // what is left of the slide is the picture's
      const rest = HEIGHT + 34 - (slide.lastChild.getBoundingClientRect().bottom - slide.getBoundingClientRect().top);
      image.style.maxHeight = `${Math.max(10, rest + 10)}px`;
      const wanted = Math.min(image.naturalHeight, image.naturalHeight * WIDTH / image.naturalWidth);
      const alone = [...slide.children].filter((node) => node !== block).every((node) => /^H[123]$/.test(node.tagName));
      if (alone || image.clientHeight >= 0.8 * wanted) return;
    } else if (fits()) return;
    block.remove();
    // A heading, or a sentence that ends in a colon, goes along to the next slide, and code with what it printed.
    const carried = [], printed = block.matches(".printed, .widget");
    while (leads(slide.lastChild) || (printed && slide.lastChild?.matches(".code"))) {
      if (slide.lastChild.matches(".again, h1")) break;
      carried.unshift(slide.lastChild);
      slide.lastChild.remove();
    }
    if (slide.children.length && !empty()) {
      begin(true);
      slide.append(...carried);
      return place(block);
    }
    slide.append(...carried);
    if (carried.some((node) => node.matches(".code"))) { // both together are too tall
      begin(true);
      return place(block);
    }
    const pre = block.querySelector(".highlight pre"); // a little smaller is better than in two pieces
    if (pre) {
      slide.append(block);
      for (const size of [18, 17, 16]) {
        pre.style.fontSize = `${size}px`;
        if (fits()) return;
      }
      enlarge(block);
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
  for (const block of found) {
    enlarge(block);
    if (/^H[12]$/.test(block.tagName)) {
      if (block.textContent.startsWith("Solutions")) break;
      title = block.tagName === "H2" ? block.textContent.replace("¶", "") : null;
      root.append((column = document.createElement("section")));
      columns.push(column);
      begin(false);
    } else if (block.tagName === "H3" && !empty()) begin(true);
    place(block);
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

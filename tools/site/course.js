// Equations that are too wide become a little smaller; what still scrolls sideways can be reached with the keyboard.
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  for (const node of document.querySelectorAll("span.math")) // wider than a telephone
    if (node.getBoundingClientRect().width > node.closest("p, li, td, th, h1, h2, h3, div").clientWidth) node.classList.add("wide");
  for (const node of document.querySelectorAll("div.math"))
    if (node.scrollWidth > node.clientWidth)
      node.style.fontSize = `${Math.max(0.75, (0.98 * node.clientWidth) / node.scrollWidth)}em`;
  for (const node of document.querySelectorAll("pre, .table-wrapper, .recorded, div.math, .wide"))
    if (node.scrollWidth > node.clientWidth) node.tabIndex = 0;
});

// What scrolls sideways can be reached with the keyboard.
addEventListener("load", () => {
  for (const node of document.querySelectorAll("pre, .table-wrapper, .recorded, div.math"))
    if (node.scrollWidth > node.clientWidth) node.tabIndex = 0;
});

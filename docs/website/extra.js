// A table that scrolls by itself can be scrolled by the keyboard too. The theme wraps tables later.
new MutationObserver(() => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])"))
    table.tabIndex = 0;
}).observe(document.documentElement, { childList: true, subtree: true });

// The theme opens its menu and its search with labels, which the Tab key passes over. Here they become buttons.
for (const label of document.querySelectorAll("label.md-header__button, label.md-nav__title[for]")) {
  const opens = label.getAttribute("for");
  label.tabIndex = 0;
  label.setAttribute("role", "button");
  label.setAttribute("aria-label", opens === "__search" ? "Search" : "Menu");
}

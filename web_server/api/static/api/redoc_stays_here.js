// Redoc fetches its maker's logo from another site. No request leaves ours (the content security policy
// forbids it, too, but then the console shows an error on every visit).
const own = (address) => new URL(address, location).origin === location.origin;
const { setAttribute } = Element.prototype;
Element.prototype.setAttribute = function (name, value) {
  if (!(this instanceof HTMLImageElement && name === "src") || own(value)) setAttribute.call(this, name, value);
};
const src = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
Object.defineProperty(HTMLImageElement.prototype, "src", {
  ...src,
  set(value) {
    if (own(value)) src.set.call(this, value);
  },
});

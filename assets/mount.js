// Where a view lives on the page; joined into their modules by pages/explorer.py and pages/cut.py.

const MOUNTED = new WeakMap(); // the place a view was given -> {view, calls}

// The default export of a component: makes a View in the place it is given once, and updates it with every call.
//
// Streamlit calls again when data change, and takes what a call returned as that call's way out. While the module is
// still being loaded calls pile up, and the way out of an outdated one is taken after a newer one was made: so only the
// newest takes the view away, or a page would keep an empty place where a chart should be.
function mounted(View, { data, parentElement, setStateValue }) {
  let place = MOUNTED.get(parentElement);
  if (!place) MOUNTED.set(parentElement, (place = { view: new View(parentElement), calls: 0 }));
  const call = ++place.calls;
  place.view.update(data, setStateValue);
  return () => {
    if (place.calls !== call || MOUNTED.get(parentElement) !== place) return;
    place.view.destroy();
    MOUNTED.delete(parentElement);
  };
}

// The drawing pad in the browser. It keeps strokes, each a list of points [x, y] in the units of the pad, shows them,
// and sends them as JSON in props.value: now and then while the pen moves, and whenever a stroke ends.
// Gradio calls this once, with `element`, `props`, `trigger` and `watch`.

const MAX_STROKES = 64, MAX_POINTS = 2000; // what the server takes
const SEND_EVERY = 120, REPLAY = 600; // milliseconds
const spacing = Math.min(props.width, props.height) / 180; // closer points say nothing new

const canvas = element.querySelector('canvas');
const prompt = element.querySelector('.pad-prompt');
const status = element.querySelector('.pad-status');
const undoButton = element.querySelector('.pad-undo');
const clearButton = element.querySelector('.pad-clear');
const examples = element.querySelector('.pad-examples');

let strokes = parse(props.value);
let pointer = null; // the finger, pen or mouse that is drawing
let cursor = null; // where the keyboard's pen is, once it is used
let penDown = false; // whether the keyboard's pen draws
let replay = 0; // number of the example being shown; a new drawing stops it
let sentAt = 0, timer = null, painting = false;
let own = props.value; // what was sent last, to tell it from what the server sets

function parse(value) {
  try { return JSON.parse(value || '[]'); } catch { return []; }
}

// -- strokes ----------------------------------------------------------------------------------------------------------

function begin(point) {
  replay++;
  if (full()) return false;
  strokes.push([point]);
  changed();
  return true;
}

function extend(point, always) {
  const stroke = strokes[strokes.length - 1];
  const last = stroke[stroke.length - 1];
  const distance = Math.hypot(point[0] - last[0], point[1] - last[1]);
  if (distance === 0 || (distance < spacing && !always) || points() >= MAX_POINTS) return;
  stroke.push(point);
  changed();
}

function drop() { replay++; penDown = false; pointer = null; } // the pen, where one draws
function undo() { drop(); strokes.pop(); changed(true); }
function clear() { drop(); strokes = []; changed(true); }
function points() { return strokes.reduce((sum, stroke) => sum + stroke.length, 0); }
function full() { return strokes.length >= MAX_STROKES || points() >= MAX_POINTS; }

function changed(now) {
  paint();
  clearTimeout(timer);
  const wait = now ? 0 : Math.max(0, sentAt + SEND_EVERY - performance.now());
  if (wait > 0) timer = setTimeout(send, wait); else send();
}

function send() {
  sentAt = performance.now();
  const value = JSON.stringify(strokes);
  if (value === props.value) return;
  props.value = own = value;
  trigger('input');
}

// -- picture ----------------------------------------------------------------------------------------------------------

function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => { painting = false; draw(); });
}

function draw() {
  const box = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * ratio); // also wipes it
  canvas.height = Math.round(box.height * ratio);
  const pen = canvas.getContext('2d');
  pen.scale(canvas.width / props.width, canvas.height / props.height);
  pen.strokeStyle = pen.fillStyle = getComputedStyle(canvas).color;
  pen.lineWidth = props.pen;
  pen.lineCap = pen.lineJoin = 'round';
  for (const stroke of strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke.length > 1 ? stroke : [stroke[0], stroke[0]]) pen.lineTo(...point);
    pen.stroke();
  }
  if (cursor && document.activeElement === canvas) drawCursor(pen);
  prompt.hidden = strokes.length > 0 || cursor !== null;
  undoButton.disabled = clearButton.disabled = strokes.length === 0;
  const count = strokes.length === 1 ? '1 stroke' : strokes.length + ' strokes';
  status.textContent = full() ? 'The pad is full: undo or clear' : strokes.length ? count : '';
}

function drawCursor(pen) {
  pen.strokeStyle = '#D55E00';
  pen.lineWidth = props.pen / 5;
  pen.beginPath();
  pen.arc(...cursor, props.pen * (penDown ? 0.6 : 1), 0, 2 * Math.PI);
  pen.stroke();
}

// -- pen, finger and mouse --------------------------------------------------------------------------------------------

function place(event) {
  const box = canvas.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * props.width;
  const y = (event.clientY - box.top) / box.height * props.height;
  return [within(x, props.width), within(y, props.height)];
}

function within(value, limit) { return Math.round(10 * Math.min(Math.max(value, 0), limit)) / 10; }

canvas.addEventListener('pointerdown', (event) => {
  if (pointer !== null || event.button !== 0) return; // a palm beside the pen, or another mouse button
  canvas.setPointerCapture(event.pointerId);
  cursor = null;
  if (begin(place(event))) pointer = event.pointerId;
});

canvas.addEventListener('pointermove', (event) => {
  if (event.pointerId !== pointer) return;
  const between = event.getCoalescedEvents ? event.getCoalescedEvents() : []; // all that one frame has merged
  for (const each of between.length ? between : [event]) extend(place(each));
});

function lift(event) {
  if (event.pointerId !== pointer) return;
  pointer = null;
  if (event.type === 'pointerup') extend(place(event), true);
  changed(true);
}
for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) canvas.addEventListener(name, lift);
canvas.addEventListener('contextmenu', (event) => event.preventDefault()); // a long touch is no menu

// -- keyboard ---------------------------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function move(direction, step) {
  cursor = cursor || [props.width / 2, props.height / 2];
  cursor = [within(cursor[0] + step * direction[0], props.width), within(cursor[1] + step * direction[1], props.height)];
  if (penDown) extend(cursor, true);
  paint();
}

function togglePen() {
  cursor = cursor || [props.width / 2, props.height / 2];
  penDown = !penDown && begin(cursor);
  if (!penDown) changed(true);
  paint();
}

canvas.addEventListener('keydown', (event) => {
  const step = Math.min(props.width, props.height) / (event.shiftKey ? 100 : 28);
  if (event.key in ARROWS) move(ARROWS[event.key], step);
  else if (event.key === ' ' || event.key === 'Enter') togglePen();
  else if (event.key === 'Delete') clear();
  else if (event.key === 'Backspace' || (event.key.toLowerCase() === 'z' && (event.ctrlKey || event.metaKey))) undo();
  else return;
  event.preventDefault();
});
canvas.addEventListener('blur', () => { penDown = false; paint(); });
undoButton.addEventListener('click', undo);
clearButton.addEventListener('click', clear);

// -- examples ---------------------------------------------------------------------------------------------------------

function show(example) {
  const mine = ++replay;
  const all = example.reduce((sum, stroke) => sum + stroke.length, 0);
  const begun = performance.now();
  const duration = window.matchMedia('(prefers-reduced-motion: reduce)').matches ? 0 : REPLAY;
  const frame = () => {
    if (mine !== replay) return;
    const share = duration ? Math.min(1, (performance.now() - begun) / duration) : 1;
    let left = Math.ceil(all * share);
    strokes = [];
    for (const stroke of example) {
      if (left > 0) strokes.push(stroke.slice(0, left));
      left -= stroke.length;
    }
    changed(share === 1);
    if (share < 1) requestAnimationFrame(frame);
  };
  frame();
}

for (const { name, strokes: example } of props.examples) {
  const button = document.createElement('button');
  button.type = 'button';
  button.title = 'Example: ' + name;
  button.setAttribute('aria-label', button.title);
  const lines = example.map((stroke) => `<polyline points="${stroke.map((p) => p.join()).join(' ')}"/>`).join('');
  button.innerHTML =
    `<svg viewBox="0 0 ${props.width} ${props.height}" stroke-width="${props.pen}" aria-hidden="true">${lines}</svg>`;
  button.addEventListener('click', () => show(example));
  examples.append(button);
}

// -- the page around it -----------------------------------------------------------------------------------------------

watch('value', () => {
  if (props.value === own) return;
  own = props.value; // set by the server; a stroke that is being drawn goes on
  replay++;
  strokes = [...parse(own), ...(pointer !== null || penDown ? strokes.slice(-1) : [])];
  paint();
});
new ResizeObserver(paint).observe(canvas);
new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ['class'] }); // light or dark
paint();

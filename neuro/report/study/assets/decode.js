// Packed columns: see packing.py for how they lie.
function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflated(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function inflatedJson(id) {
  return JSON.parse(new TextDecoder().decode(await inflated(id)));
}

// One array of numbers for each column; codes become indices into `values`, -1 where a point has none.
function columnsOf(bytes, described, count) {
  const columns = new Map();
  let at = 0;
  for (const { name, kind, values } of described) {
    if (kind === "floats") {
      columns.set(name, { numbers: floats(bytes, at, count), values: null });
      at += 4 * count;
    } else {
      const wide = values.length > 256;
      columns.set(name, coded(codes(bytes, at, count, wide), values));
      at += (wide ? 2 : 1) * count;
    }
  }
  return columns;
}

function floats(bytes, at, count) {
  const joined = new Uint8Array(4 * count);
  for (let part = 0; part < 4; part++) {
    const from = at + part * count;
    for (let i = 0; i < count; i++) joined[4 * i + part] = bytes[from + i];
  }
  return new Float32Array(joined.buffer);
}

function codes(bytes, at, count, wide) {
  if (!wide) return bytes.subarray(at, at + count);
  const found = new Uint16Array(count);
  for (let i = 0; i < count; i++) found[i] = bytes[at + 2 * i] + 256 * bytes[at + 2 * i + 1];
  return found;
}

// Numbers stand for themselves; words and truth values are numbered, and their `values` kept.
function coded(found, values) {
  const words = values.some((value) => typeof value === "string" || typeof value === "boolean");
  const known = words ? values.filter((value) => value !== null) : null;
  const number = values.map((value, index) => (value === null ? NaN : words ? index : value));
  const numbers = new Float64Array(found.length);
  for (let i = 0; i < found.length; i++) numbers[i] = number[found[i]];
  return { numbers, values: known };
}

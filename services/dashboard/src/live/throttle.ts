/** `deed` at once, then at most every `ms`: the last call is never lost. */
export function throttled(deed: () => void, ms: number): { (): void; cancel(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isWanted = false;
  const rest = () => {
    timer = undefined;
    if (isWanted) run();
  };
  const run = () => {
    isWanted = false;
    timer = setTimeout(rest, ms);
    deed();
  };
  const call = () => {
    if (timer === undefined) run();
    else isWanted = true;
  };
  call.cancel = () => {
    clearTimeout(timer);
    timer = undefined;
    isWanted = false;
  };
  return call;
}

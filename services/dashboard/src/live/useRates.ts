import { useEffect, useState } from "react";
import { feed } from "./feed";
import { Rates } from "./rates";

const DRAW_MS = 250;

/** The last minute, drawn anew four times a second. */
export function useRates() {
  const [rates] = useState(() => new Rates());
  const [shown, setShown] = useState(() => rates.read(seconds()));
  useEffect(() => feed.listen((news) => rates.add(news, seconds())), [rates]);
  useEffect(() => {
    const timer = setInterval(() => setShown(rates.read(seconds())), DRAW_MS);
    return () => clearInterval(timer);
  }, [rates]);
  return shown;
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

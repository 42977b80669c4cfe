import { Component, type ReactNode } from "react";
import { Button, Empty } from "../ui/parts";

const AGAIN_MS = 1_000;

/**
 * A screen that cannot be shown: its part of the page is of a build that is gone, or the API is away. As soon as the API
 * answers, the page as it is now is loaded; what went wrong otherwise is said.
 */
export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };
  #timer: ReturnType<typeof setInterval> | undefined;

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override componentDidCatch(error: Error): void {
    if (!isOfLoading(error)) return;
    this.#timer = setInterval(async () => {
      const answer = await fetch("/livez", { cache: "no-store" }).catch(() => null);
      if (answer?.ok) window.location.reload();
    }, AGAIN_MS);
  }

  override componentWillUnmount(): void {
    clearInterval(this.#timer);
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <Empty title="This screen cannot be shown">
        <span>{isOfLoading(error) ? "It is loaded as soon as the API answers." : error.message}</span>
        <Button onClick={() => window.location.reload()}>Load the page again</Button>
      </Empty>
    );
  }
}

/** Browsers tell of a module that cannot be had in words alone. */
function isOfLoading(error: Error): boolean {
  return /dynamically imported module|module script|preload/i.test(error.message);
}

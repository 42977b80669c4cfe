import { type FormEvent, type ReactNode, useEffect, useId, useRef } from "react";
import { Button } from "./parts";

interface Props {
  title: string;
  onClose(): void;
  /** What stands at the foot, beside "Close". */
  actions?: ReactNode;
  /** The dialog is a form: Enter sends it. */
  onSubmit?(): void;
  children: ReactNode;
  close?: string;
}

/** The browser's own modal dialog: it keeps the focus inside, and gives it back. Shown as long as it stands. */
export function Dialog({ title, onClose, actions, onSubmit, children, close = "Close" }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    shown?.showModal();
    return () => {
      shown?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSubmit?.();
  };
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <form onSubmit={submit} noValidate>
        <header>
          <h2 id={id}>{title}</h2>
        </header>
        <div className="body">{children}</div>
        <footer>
          <Button onClick={onClose}>{close}</Button>
          {actions}
        </footer>
      </form>
    </dialog>
  );
}

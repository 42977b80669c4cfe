import { cloneElement, type ReactElement, type ReactNode, useId } from "react";

interface Control {
  id?: string;
  "aria-invalid"?: boolean;
  "aria-describedby"?: string;
}

/** A labelled control, what it is for, and what is wrong with it. */
export function Field(props: {
  label: ReactNode;
  hint?: ReactNode;
  fault?: string;
  children: ReactElement<Control>;
}) {
  const id = useId();
  const said = `${id}-said`;
  return (
    <div className="field">
      <label className="label" htmlFor={id}>
        {props.label}
      </label>
      {cloneElement(props.children, {
        id,
        "aria-invalid": props.fault ? true : undefined,
        "aria-describedby": props.fault || props.hint ? said : undefined,
      })}
      {(props.fault || props.hint) && (
        <span id={said} className={props.fault ? "fault" : "hint"}>
          {props.fault ?? props.hint}
        </span>
      )}
    </div>
  );
}

/** A box to tick, with its label beside it. */
export function Check(props: {
  label: ReactNode;
  checked: boolean;
  onChange(checked: boolean): void;
  disabled?: boolean;
}) {
  return (
    <label className="field-row">
      <input
        type="checkbox"
        checked={props.checked}
        disabled={props.disabled}
        onChange={(event) => props.onChange(event.target.checked)}
      />
      {props.label}
    </label>
  );
}

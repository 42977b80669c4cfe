import { shortcuts, turn, useAreOn } from "../keys";
import { Dialog } from "../ui/dialog";
import { Check } from "../ui/field";

/** The shortcuts of the screen that is shown. */
export function Help({ onClose }: { onClose(): void }) {
  const isOn = useAreOn();
  const known = new Map(shortcuts().map((shortcut) => [shortcut.keys, shortcut.label]));
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <Check label="Shortcuts of single keys are on" checked={isOn} onChange={turn} />
      <div className="table-wrap">
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Keys</th>
              <th scope="col">What they do</th>
            </tr>
          </thead>
          <tbody>
            {[...known].map(([keys, label]) => (
              <tr key={keys}>
                <td>
                  {keys.split(" ").map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </td>
                <td>{label}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Dialog>
  );
}

import { Dialog } from "./dialog";
import { Copy, Note } from "./parts";

/** A secret that nobody can read again. */
export function ShownOnce({ what, secret, onClose }: { what: string; secret: string; onClose(): void }) {
  return (
    <Dialog title={`The new ${what}`} close="I have kept it" onClose={onClose}>
      <Note tone="warn">It is shown this once: keep it now.</Note>
      <p className="row">
        <code className="secret">{secret}</code>
        <Copy text={secret} what={`the ${what}`} />
      </p>
    </Dialog>
  );
}

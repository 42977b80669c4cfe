import { useMemo } from "react";
import { pretty } from "../../api/raw";
import { Card, Code, Copy } from "../../ui/parts";

/** JSON as it was written, laid out. */
export function Json({ title, text }: { title: string; text: string }) {
  const laidOut = useMemo(() => pretty(text), [text]);
  return (
    <Card title={title} aside={<Copy text={text} what={title.toLowerCase()} />}>
      <Code text={laidOut} label={`${title}, JSON`} />
    </Card>
  );
}

import { useMay } from "../api/who";
import { PageHead } from "../ui/parts";
import { Account } from "./access/account";
import { Audit } from "./access/audit";
import { Keys } from "./access/keys";
import { Users } from "./access/users";

/** Who may do what, with which credentials, and who did what. */
export default function Access() {
  const may = useMay();
  return (
    <>
      <PageHead title="Access" />
      <Account />
      <Keys />
      {may("admin") && <Users />}
      {may("admin") && <Audit />}
    </>
  );
}

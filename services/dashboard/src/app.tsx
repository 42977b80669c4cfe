export function App() {
  return <main>TaskFlow</main>;
}
